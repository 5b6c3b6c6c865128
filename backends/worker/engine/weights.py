"""Where a model's files are: bundled, in a folder, or on the Hugging Face hub."""

import hashlib
from pathlib import Path

import httpx2  # what huggingface_hub speaks HTTP with
from huggingface_hub import snapshot_download
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

from backends.worker.variants import BUNDLED, HUB_ID, LocalModel
from domain.errors import Code, OperatorError
from domain.request import Kind

BUNDLED_FOLDERS = {Kind.IMAGINE: "tiny-i1", Kind.EDIT: "tiny-e1"}
MODELS_FOLDER = Path(__file__).parent.parent / "models"
LARGE_FILE = 64 << 20
"""Larger files are compared by where they lie, smaller ones by what is in them."""


def find_model(model: LocalModel) -> Path:
    """The folder that holds the model; weights on the hub are downloaded first.

    Raises OperatorError (MODEL_NOT_FOUND, MODEL_LOADING_FAILED).
    """
    if model.name == BUNDLED:
        folder = MODELS_FOLDER / BUNDLED_FOLDERS[model.kind]
    elif not Path(model.name).expanduser().is_dir() and HUB_ID.fullmatch(model.name):
        folder = download(model.name)
    else:
        folder = Path(model.name).expanduser()
    if not folder.is_dir():
        raise OperatorError(Code.MODEL_NOT_FOUND, model=model.shown_name, problem="there is no such folder or hub id")
    if not (folder / "transformer" / "config.json").is_file():
        raise OperatorError(
            Code.MODEL_NOT_FOUND, model=model.shown_name, problem="the folder holds no HiDream transformer"
        )
    return folder


def find_llama(name: str) -> Path:
    """The folder of the fourth text encoder. Raises OperatorError (MODEL_NOT_FOUND, MODEL_LOADING_FAILED)."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if not HUB_ID.fullmatch(name):
        raise OperatorError(Code.MODEL_NOT_FOUND, model=name, problem="EASEL_LLAMA names no folder or hub id")
    return download(name)


def download(hub_id: str) -> Path:
    """The local copy of a repository on the hub. Raises OperatorError."""
    try:
        return Path(snapshot_download(hub_id))
    except GatedRepoError:
        raise OperatorError(
            Code.MODEL_LOADING_FAILED,
            model=hub_id,
            problem="its licence has to be accepted on huggingface.co, and HF_TOKEN set",
        ) from None
    except RepositoryNotFoundError:
        raise OperatorError(
            Code.MODEL_NOT_FOUND, model=hub_id, problem="there is no such repository on huggingface.co"
        ) from None
    except (LocalEntryNotFoundError, httpx2.HTTPError, OSError) as error:
        raise OperatorError(
            Code.MODEL_LOADING_FAILED,
            model=hub_id,
            problem=f"it could not be downloaded ({type(error).__name__})",
        ) from error


def bytes_on_disk(model: LocalModel) -> int:
    """Bytes of the model's weights; 0 for what has yet to be downloaded or does not exist."""
    folder = MODELS_FOLDER / BUNDLED_FOLDERS[model.kind] if model.name == BUNDLED else Path(model.name).expanduser()
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors"))


def same_files(one: Path, other: Path) -> bool:
    """Two component folders hold the same: then one loaded copy serves both models."""
    return _contents(one) == _contents(other)


def _contents(folder: Path) -> list[tuple[str, str]]:
    return [(str(path.relative_to(folder)), _fingerprint(path)) for path in sorted(folder.rglob("*")) if path.is_file()]


def _fingerprint(path: Path) -> str:
    """The hub's cache names a large file by its hash; elsewhere only the very same file counts as the same."""
    real = path.resolve()
    if real.stat().st_size > LARGE_FILE:
        return real.name if len(real.name) == 64 else str(real)
    return hashlib.sha256(real.read_bytes()).hexdigest()
