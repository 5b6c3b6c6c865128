"""The doctor looks at the local models: their files and the GPU's driver, before a load fails, and without torch."""

import asyncio
import contextlib
import importlib.util
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from backends.worker.files import LARGE, SMALL, missing_parts, parameters_in
from backends.worker.loras import LoraFolder
from backends.worker.memory import LARGEST_FIRST, Parts, choose_mode, gibibytes, needed_bytes
from backends.worker.variants import BUNDLED, HUB_ID, LocalModel, local_models
from config.settings import LocalMemory, Settings
from domain.request import Kind
from jobs.findings import Finding

PACKAGES: Final = ("torch", "diffusers", "transformers", "huggingface_hub", "peft", "starlette", "uvicorn")
BF16: Final = 2
DOWNLOAD_BYTES: Final = {"hidream-e1.1": 34 << 30, "llama": 16 << 30}
"""Of the published weights in bfloat16 and what lies beside them, rounded up; anything else is a whole HiDream."""
WHOLE_DOWNLOAD_BYTES: Final = 46 << 30
PUBLISHED: Final = {
    "transformer": 17_100_000_000,
    "text_encoder_3": 4_760_000_000,
    "text_encoder_4": 8_030_000_000,
}
"""Parameters of HiDream's large parts, where no file is there yet to count them in."""
PUBLISHED_SMALL: Final = 900_000_000
GPU_SECONDS: Final = 10
LARGE_FOR_A_CPU: Final = 1_000_000_000
"""Parameters from which a picture takes hours on a CPU."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as its driver describes it."""

    name: str
    bytes: int


async def examine_local(settings: Settings) -> AsyncIterator[Finding]:
    """Everything that the worker on this machine needs; nothing where it has no worker."""
    models = local_models(settings.easel_local_model, settings.easel_local_edit_model)
    if not models or settings.worker_urls:
        return
    missing = [package for package in PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        yield Finding("worker", False, f"the package {missing[0]} is not installed", "Run: pip install 'easel[worker]'")
        return
    for finding in await asyncio.to_thread(lambda: list(_findings(settings, models))):
        yield finding


def _findings(settings: Settings, models: tuple[LocalModel, ...]) -> Iterator[Finding]:
    wanted: dict[Path, int] = {}
    folders: dict[str, Path | None] = {}
    for model in models:
        folders[model.key] = folder = _folder(model)
        if folder is not None:
            yield _whole(model, folder, settings)
        elif HUB_ID.fullmatch(model.name):
            yield Finding(model.key, True, f"{model.name} is not here yet; the worker downloads it")
            wanted[_hub_cache()] = wanted.get(_hub_cache(), 0) + DOWNLOAD_BYTES.get(model.key, WHOLE_DOWNLOAD_BYTES)
        else:
            yield Finding(
                model.key,
                False,
                f"there is no folder {model.name}",
                f"Set {_setting(model)} to `{BUNDLED}`, to a folder with the model, or to a hub id.",
            )
    if any(folder is None or _lacks_llama(folder) for folder in folders.values()):
        finding, download = _llama(settings.easel_llama)
        yield finding
        if download:
            wanted[_hub_cache()] = wanted.get(_hub_cache(), 0) + DOWNLOAD_BYTES["llama"]
    for place, size in wanted.items():
        yield _room(place, size)
    yield from _memory(settings, folders)
    if settings.easel_lora_dir is not None:
        yield _loras(settings.easel_lora_dir)


def _setting(model: LocalModel) -> str:
    return "EASEL_LOCAL_MODEL" if model.kind is Kind.IMAGINE else "EASEL_LOCAL_EDIT_MODEL"


def _folder(model: LocalModel) -> Path | None:
    """Where the model lies; None for one that is not on this machine."""
    from backends.worker.engine.weights import BUNDLED_FOLDERS, MODELS_FOLDER

    if model.name == BUNDLED:
        return MODELS_FOLDER / BUNDLED_FOLDERS[model.kind]
    folder = Path(model.name).expanduser()
    return folder if folder.is_dir() else _downloaded(model.name)


def _downloaded(hub_id: str) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    if not HUB_ID.fullmatch(hub_id):
        return None
    try:
        return Path(snapshot_download(hub_id, local_files_only=True))
    except (LocalEntryNotFoundError, OSError):
        return None


def _hub_cache() -> Path:
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


def _whole(model: LocalModel, folder: Path, settings: Settings) -> Finding:
    missing = missing_parts(folder)
    if missing and HUB_ID.fullmatch(model.name):
        mend = f"Download it again: hf download {model.name}"
    elif missing:
        mend = "Copy these files again from where the model came from."
    elif not (folder / "model_index.json").is_file() and settings.easel_local_model is None:
        missing, mend = ["all but the transformer"], "Set EASEL_LOCAL_MODEL too: the rest is taken from there."
    else:
        return Finding(model.key, True, f"{model.shown_name} is whole")
    return Finding(model.key, False, f"{model.shown_name} lacks {', '.join(missing)}", mend)


def _lacks_llama(folder: Path) -> bool:
    whole = (folder / "model_index.json").is_file()
    return whole and not (folder / "text_encoder_4" / "config.json").is_file()


def _llama(name: str) -> tuple[Finding, bool]:
    """HiDream's fourth text encoder, and whether it has to be downloaded."""
    import httpx2  # what huggingface_hub speaks HTTP with
    from huggingface_hub import auth_check
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    subject = "Llama encoder"
    folder = _llama_folder(name)
    if folder is not None:
        if not (folder / "config.json").is_file() or not _parameters(folder):
            mend = "Download it again, or name another in EASEL_LLAMA."
            return Finding(subject, False, f"{name} is incomplete", mend), False
        return Finding(subject, True, f"{name} is here"), False
    if not HUB_ID.fullmatch(name):
        return Finding(subject, False, f"there is no folder {name}", "Set EASEL_LLAMA to a folder or a hub id."), False
    try:
        auth_check(name)
    except (GatedRepoError, RepositoryNotFoundError):
        found = f"{name} is not here, and the hub does not give it to you"
        mend = f"Accept its licence at https://huggingface.co/{name} and set HF_TOKEN, or name a folder in EASEL_LLAMA."
        return Finding(subject, False, found, mend), True
    except (httpx2.HTTPError, OSError) as error:
        found = f"{name} is not here, and the hub cannot be asked for it ({type(error).__name__})"
        return Finding(subject, False, found, "Check the network, or name a folder in EASEL_LLAMA."), True
    return Finding(subject, True, f"{name} is not here yet; the worker downloads it"), True


def _llama_folder(name: str) -> Path | None:
    folder = Path(name).expanduser()
    return folder if folder.is_dir() else _downloaded(name)


def _parameters(folder: Path) -> int:
    """The parameters in a folder's files; 0 where one is damaged, which another finding tells."""
    try:
        return parameters_in(folder)
    except (OSError, ValueError):
        return 0


def _room(place: Path, size: int) -> Finding:
    existing = next(folder for folder in (place, *place.absolute().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    found = f"{gibibytes(free)} free at {place}, about {gibibytes(size)} to download"
    if free < size:
        return Finding("disk for models", False, found, "Make room there, or set HF_HOME to a larger disk.")
    return Finding("disk for models", True, found)


def _memory(settings: Settings, folders: dict[str, Path | None]) -> Iterator[Finding]:
    parts = _parts(settings, folders)
    gpus = list(_gpus())
    wanted = settings.easel_local_memory
    has_nf4 = importlib.util.find_spec("bitsandbytes") is not None
    if wanted is LocalMemory.NF4 and not has_nf4:
        yield Finding(
            "GPU memory",
            False,
            "EASEL_LOCAL_MEMORY=nf4 needs the package bitsandbytes",
            "Run: pip install bitsandbytes",
        )
        return
    if not gpus:
        if sum(parts.large) > LARGE_FOR_A_CPU:
            yield Finding(
                "GPU",
                False,
                "none was found (nvidia-smi), and on the CPU one picture of this model takes hours",
                "Install the GPU's driver and torch with CUDA, or set EASEL_LOCAL_MODEL=tiny.",
            )
        else:
            yield Finding("GPU", True, "none; the CPU is enough for these models")
        return
    gpu = gpus[0]
    mode = choose_mode(
        wanted, gpu.bytes, parts, [one for one in LARGEST_FIRST if has_nf4 or one is not LocalMemory.NF4]
    )
    needed = needed_bytes(mode, parts)
    found = f"{gpu.name} with {gibibytes(gpu.bytes)}; mode {mode.value} needs about {gibibytes(needed)}"
    if needed <= gpu.bytes:
        yield Finding("GPU memory", True, found)
    elif wanted is not LocalMemory.AUTO:
        yield Finding("GPU memory", False, found, "Set EASEL_LOCAL_MEMORY=auto.")
    elif not has_nf4:
        yield Finding("GPU memory", False, found, "Run: pip install bitsandbytes (for nf4), or use a larger GPU.")
    else:
        yield Finding("GPU memory", False, found, "Use a GPU with more memory, or a hosted backend.")
    if mode is not LocalMemory.FULL:
        yield from _main_memory(BF16 * sum(parts.large))


def _main_memory(size: int) -> Iterator[Finding]:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found = f"{gibibytes(total)} in all; weights of up to {gibibytes(size)} are loaded through it"
    if total < size:
        yield Finding("main memory", False, found, "Add memory or swap space.")


def _parts(settings: Settings, folders: dict[str, Path | None]) -> Parts:
    """Counted in the files that are here; the published numbers for what is not."""
    large: dict[str, int] = {}
    small = 0
    for key, folder in folders.items():
        for name in LARGE:
            place = folder / name if folder is not None else None
            if folder is not None and name == "text_encoder_4" and _lacks_llama(folder):
                place = _llama_folder(settings.easel_llama)
            large[f"{name} of {key}" if name == "transformer" else name] = (
                PUBLISHED[name] if place is None else _parameters(place)
            )
        small = max(small, sum(_parameters(folder / name) for name in SMALL) if folder else PUBLISHED_SMALL)
    return Parts(tuple(filter(None, large.values())), small)


def _gpus() -> Iterator[Gpu]:
    """NVIDIA's GPUs; none where the driver's own tool is missing or fails."""
    with contextlib.suppress(OSError, subprocess.SubprocessError, ValueError):
        answer = subprocess.run(
            ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            check=True,
            timeout=GPU_SECONDS,
        )
        for line in answer.stdout.splitlines():
            name, _, mebibytes = line.rpartition(",")
            yield Gpu(name.strip(), int(mebibytes) << 20)


def _loras(folder: Path) -> Finding:
    if not folder.is_dir():
        return Finding("LoRAs", False, f"there is no folder {folder}", "Make it, or correct EASEL_LORA_DIR.")
    names = LoraFolder(folder).names()
    if not names:
        return Finding(
            "LoRAs",
            False,
            f"{folder} holds no .safetensors file with a name that can be asked for",
            "Put LoRAs there; names are of letters, digits and : @ . _ -",
        )
    return Finding("LoRAs", True, f"{len(names)} in {folder}")
