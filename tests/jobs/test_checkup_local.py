"""The doctor's look at the local models: each thing that is missing has a line that mends it."""

import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import huggingface_hub
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import GatedRepoError

from backends.base import Health, HealthState
from backends.worker.files import missing_parts
from config.settings import LocalMemory, Settings
from jobs import checkup, checkup_local
from jobs.checkup_local import examine_local
from jobs.findings import Finding
from tests.doubles import ScriptedBackend

TINY = Path(__file__).parents[2] / "backends" / "worker" / "models" / "tiny-i1"
GATED = "meta-llama/Llama-3.1-8B-Instruct"
SIZES = {
    "transformer": 17_100_000_000,
    "text_encoder_3": 4_760_000_000,
    "text_encoder_4": 8_030_000_000,
    "text_encoder": 800_000_000,
}


@pytest.fixture(autouse=True)
def own_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPU, no downloads, and no hub."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def gpu(tmp_path: Path, mebibytes: int) -> None:
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\necho 'NVIDIA L40S, {mebibytes}'\n")
    tool.chmod(0o755)


def sparse(file: Path, parameters: int) -> None:
    """A file of weights with nothing but holes in it."""
    header = json.dumps(
        {"w": {"dtype": "BF16", "shape": [parameters], "data_offsets": [0, 2 * parameters]}, "__metadata__": {}}
    ).encode()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(len(header).to_bytes(8, "little") + header)
    os.truncate(file, 8 + len(header) + 2 * parameters)


def full_size(folder: Path, *, llama: bool = True) -> Path:
    """A folder with all files of HiDream-I1 in their published sizes."""
    shutil.copytree(TINY, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    for name in ("transformer", "text_encoder", "text_encoder_2", "text_encoder_3", "text_encoder_4", "vae"):
        sparse(folder / name / "model.safetensors", SIZES.get(name, 1000))
    if not llama:
        shutil.rmtree(folder / "text_encoder_4")
    return folder


async def findings(**settings: object) -> dict[str, Finding]:
    given = Settings.model_validate({"easel_local_model": "tiny", **settings})
    found = {finding.subject: finding async for finding in examine_local(given)}
    for finding in found.values():
        assert finding.good or finding.mend
    return found


async def test_with_the_bundled_models_all_is_well() -> None:
    found = await findings(easel_local_edit_model="tiny")
    assert {subject: finding.good for subject, finding in found.items()} == {
        "tiny": True,
        "tiny-edit": True,
        "GPU": True,
    }


@pytest.mark.parametrize(
    "settings", [{"easel_local_model": None}, {"easel_worker_url": "http://127.0.0.1:7870"}], ids=["none", "elsewhere"]
)
async def test_without_a_worker_here_there_is_nothing_to_look_at(settings: dict[str, object]) -> None:
    assert await findings(**settings) == {}


async def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "diffusers" else object())
    assert (await findings())["worker"].found == "the package diffusers is not installed"


async def test_a_folder_that_is_not_there() -> None:
    found = (await findings(easel_local_model="/nowhere/HiDream-I1-Full"))["hidream-i1-full"]
    assert not found.good
    assert "EASEL_LOCAL_MODEL" in found.mend


@pytest.mark.parametrize(
    "lost",
    ["transformer/config.json", "vae/diffusion_pytorch_model.safetensors", "text_encoder_2/config.json", "tokenizer_3"],
)
async def test_what_a_folder_lacks_is_named(tmp_path: Path, lost: str) -> None:
    folder = tmp_path / "HiDream-I1-Dev"
    shutil.copytree(TINY, folder)
    if lost == "tokenizer_3":
        shutil.rmtree(folder / lost)
    else:
        (folder / lost).unlink()
    found = (await findings(easel_local_model=str(folder)))["hidream-i1-dev"]
    assert not found.good
    assert lost.replace("diffusion_pytorch_model", "*") in found.found
    assert str(tmp_path) not in found.found


def test_a_download_that_was_cut_short_is_seen(tmp_path: Path) -> None:
    folder = full_size(tmp_path / "i1")
    assert missing_parts(folder) == []
    os.truncate(folder / "transformer" / "model.safetensors", 1 << 30)
    (folder / "text_encoder_3" / "x.safetensors.index.json").write_text('{"weight_map": {"a": "second.safetensors"}}')
    assert missing_parts(folder) == ["transformer/model.safetensors", "text_encoder_3/second.safetensors"]


async def test_an_editor_s_transformer_alone_needs_a_painter(tmp_path: Path) -> None:
    folder = tmp_path / "HiDream-E1-1"
    shutil.copytree(TINY / "transformer", folder / "transformer")
    alone = (await findings(easel_local_model=None, easel_local_edit_model=str(folder)))["hidream-e1.1"]
    assert (alone.good, alone.mend) == (False, "Set EASEL_LOCAL_MODEL too: the rest is taken from there.")
    assert (await findings(easel_local_edit_model=str(folder)))["hidream-e1.1"].good


def refuse(*_: object, **__: object) -> None:
    response = httpx2.Response(403, request=httpx2.Request("GET", "https://huggingface.co"))
    raise GatedRepoError("gated", response=response)


async def test_the_gated_llama_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "auth_check", refuse)
    folder = full_size(tmp_path / "HiDream-I1-Dev", llama=False)
    found = (await findings(easel_local_model=str(folder)))["Llama encoder"]
    assert not found.good
    assert f"https://huggingface.co/{GATED}" in found.mend
    assert "HF_TOKEN" in found.mend
    assert "EASEL_LLAMA" in found.mend


@pytest.mark.parametrize("offline", [True, False])
async def test_a_hub_that_cannot_be_asked_is_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: bool
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(huggingface_hub, "auth_check", huggingface_hub.HfApi("http://127.0.0.1:9").auth_check)
    folder = full_size(tmp_path / "HiDream-I1-Dev", llama=False)
    found = (await findings(easel_local_model=str(folder)))["Llama encoder"]
    assert "cannot be asked" in found.found


async def test_a_llama_in_a_folder_is_enough(tmp_path: Path) -> None:
    folder = full_size(tmp_path / "HiDream-I1-Dev", llama=False)
    llama = tmp_path / "llama"
    settings = {"easel_local_model": str(folder), "easel_llama": str(llama)}
    assert (await findings(**settings))["Llama encoder"].mend == "Set EASEL_LLAMA to a folder or a hub id."
    shutil.copytree(TINY / "text_encoder_4", llama, ignore=shutil.ignore_patterns("*.safetensors"))
    assert "incomplete" in (await findings(**settings))["Llama encoder"].found
    sparse(llama / "model.safetensors", SIZES["text_encoder_4"])
    assert (await findings(**settings))["Llama encoder"].good


async def test_a_disk_too_small_for_the_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "auth_check", lambda *_: None)
    settings = {"easel_local_model": "HiDream-ai/HiDream-I1-Dev", "easel_local_edit_model": "HiDream-ai/HiDream-E1-1"}
    free = 95 << 30
    monkeypatch.setattr("shutil.disk_usage", lambda _: shutil._ntuple_diskusage(1 << 40, 0, free))
    found = (await findings(**settings))["disk for models"]
    # The painter, the editor's transformer and the Llama encoder.
    assert found == Finding(
        "disk for models",
        False,
        f"95.0 GiB free at {tmp_path / 'hub'}, about 96.0 GiB to download",
        "Make room there, or set HF_HOME to a larger disk.",
    )
    free = 97 << 30
    assert (await findings(**settings))["disk for models"].good


@pytest.mark.parametrize(
    ("gibibytes", "wanted", "good", "mode"),
    [
        (80, "auto", True, "full"),
        (46, "auto", True, "offload"),
        (24, "auto", True, "fp8"),
        (12, "auto", False, "fp8"),
        (46, "full", False, "full"),
    ],
)
async def test_the_gpu_s_memory(tmp_path: Path, gibibytes: int, wanted: str, good: bool, mode: str) -> None:
    gpu(tmp_path, gibibytes * 1024)
    folder = full_size(tmp_path / "HiDream-I1-Dev")
    found = (await findings(easel_local_model=str(folder), easel_local_memory=wanted))["GPU memory"]
    assert found.good is good
    assert f"NVIDIA L40S with {gibibytes}.0 GiB; mode {mode} needs about" in found.found


async def test_4_bits_need_their_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup_local, "PACKAGES", ())
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert (await findings(easel_local_memory=LocalMemory.NF4))["GPU memory"].mend == "Run: pip install bitsandbytes"


async def test_a_large_model_on_a_cpu_is_no_good(tmp_path: Path) -> None:
    found = (await findings(easel_local_model=str(full_size(tmp_path / "HiDream-I1-Dev"))))["GPU"]
    assert not found.good


async def test_the_folder_of_loras(tmp_path: Path) -> None:
    folder = tmp_path / "loras"
    assert "EASEL_LORA_DIR" in (await findings(easel_lora_dir=folder))["LoRAs"].mend
    folder.mkdir()
    assert not (await findings(easel_lora_dir=folder))["LoRAs"].good
    (folder / "ink.safetensors").write_bytes(b"")
    assert (await findings(easel_lora_dir=folder))["LoRAs"] == Finding("LoRAs", True, f"1 in {folder}")


async def test_a_worker_that_lacks_something_is_not_waited_for(tmp_path: Path) -> None:
    loading = ScriptedBackend("worker", ())
    loading.health_now = Health(HealthState.LOADING, slots=1)
    settings = Settings.model_validate({"easel_local_model": "/nowhere", "easel_data_dir": tmp_path})
    found = [
        finding async for finding in checkup.examine(settings, {"worker": loading}, str, lambda: datetime.now(UTC))
    ]
    assert [finding.found for finding in found if finding.subject == "worker"] == [
        "not waited for, as it is lacking something"
    ]
