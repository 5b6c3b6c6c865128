"""A real engine with the bundled model, and real sockets."""

import asyncio
import base64
import io
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
import uvicorn
from diffusers import HiDreamImagePipeline, HiDreamImageTransformer2DModel
from peft import LoraConfig, get_peft_model_state_dict
from PIL import Image
from starlette.applications import Starlette

from backends.worker.engine.interface import Cancelled, Painted, Preview, Watch
from backends.worker.engine.torch_engine import TorchEngine
from backends.worker.engine.weights import MODELS_FOLDER
from backends.worker.loras import LoraFolder
from backends.worker.protocol import JobBody
from backends.worker.serve import listen_uds
from backends.worker.variants import BUNDLED_EDIT, VARIANTS, LocalModel
from domain.errors import EaselError

TINY_I1 = MODELS_FOLDER / "tiny-i1"
ROOT = Path(__file__).parents[2]


@dataclass
class Recorder:
    """Follows a job; cancels it at the end of step ``cancel_at``."""

    cancel_at: int | None = None
    steps: list[tuple[int, int]] = field(default_factory=list)
    previews: list[Preview] = field(default_factory=list)

    def step(self, step: int, steps: int) -> None:
        if step == self.cancel_at:
            raise Cancelled
        self.steps.append((step, steps))

    def preview(self, preview: Preview) -> None:
        self.previews.append(preview)


@dataclass
class GatedEngine:
    """An engine whose steps a test opens one by one, for what the real one can't be made to show."""

    models: tuple[LocalModel, ...] = (LocalModel("tiny", VARIANTS["dev"], "tiny"),)
    failure: Exception | None = None
    load_gate: threading.Event = field(default_factory=threading.Event)
    step_gate: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    made: list[str] = field(default_factory=list)
    steps_done: list[int] = field(default_factory=list)
    loaded: frozenset[str] = frozenset()
    problems: Mapping[str, EaselError] = field(default_factory=dict)
    device: str = "none"

    def load(self) -> None:
        self.load_gate.wait()
        self.loaded = frozenset(model.key for model in self.models) - frozenset(self.problems)

    def make(self, body: JobBody, source: Image.Image | None, watch: Watch) -> Painted:
        self.made.append(body.job_id)
        if self.failure is not None:
            raise self.failure
        steps = body.steps or 1
        for step in range(1, steps + 1):
            self.step_gate.acquire()
            self.steps_done.append(step)
            watch.step(step, steps)
        return Painted(Image.new("RGB", (16, 16), "red"), 0.5)


@pytest.fixture
async def gated() -> AsyncIterator[GatedEngine]:
    engine = GatedEngine()
    engine.load_gate.set()
    yield engine
    engine.load_gate.set()
    engine.step_gate.release(1000)


@pytest.fixture(scope="session")
def editor_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An E1.1-shaped transformer alone, with random weights, that fits the bundled model's other parts."""
    folder = tmp_path_factory.mktemp("models") / "tiny-e1.1"
    config = HiDreamImageTransformer2DModel.load_config(TINY_I1, subfolder="transformer")
    side = config["max_resolution"][0]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        transformer = HiDreamImageTransformer2DModel.from_config(config | {"max_resolution": [side, side * 2]})
    transformer.save_pretrained(folder / "transformer")
    return folder


LORAS = ("Ink", "wash.v2")
"""Names of the LoRAs that there are in tests."""


@pytest.fixture(scope="session")
def lora_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LoRAs with random weights for the bundled models, as diffusers' training scripts save them."""
    folder = tmp_path_factory.mktemp("loras")
    transformer = HiDreamImageTransformer2DModel.from_pretrained(TINY_I1, subfolder="transformer")
    parts = ["to_q", "to_k", "to_v", "to_out", "w1"]
    for seed, name in enumerate(LORAS):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            transformer.add_adapter(LoraConfig(r=4, lora_alpha=4, init_lora_weights=False, target_modules=parts))
        HiDreamImagePipeline.save_lora_weights(
            folder, get_peft_model_state_dict(transformer, adapter_name="default"), weight_name=f"{name}.safetensors"
        )
        transformer.unload_lora()
    return folder


@pytest.fixture(scope="session")
def engine(editor_folder: Path, lora_folder: Path) -> TorchEngine:
    """The real engine, loaded once: that one job leaves no trace for the next is what the tests hold it to."""
    engine = TorchEngine(
        [
            LocalModel("tiny", VARIANTS["dev"], "tiny"),
            LocalModel("tiny-edit", BUNDLED_EDIT, str(editor_folder)),
            LocalModel("hidream-e1.1", VARIANTS["e1.1"], str(editor_folder)),
        ],
        llama="unused",
        loras=LoraFolder(lora_folder),
    )
    engine.load()
    assert not engine.problems
    return engine


def body(**given: object) -> JobBody:
    """A small job for the bundled model."""
    defaults = {"job_id": "job", "model": "tiny", "variant": "dev", "prompt": "a red circle", "seed": 7, "steps": 4}
    return JobBody.model_validate(defaults | given)


def picture_base64(size: tuple[int, int] = (32, 32), file_format: str = "PNG") -> str:
    """A picture's file as it travels."""
    file = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert("RGB").save(file, file_format)
    return base64.b64encode(file.getvalue()).decode()


@asynccontextmanager
async def serving(app: Starlette, path: Path) -> AsyncIterator[Path]:
    """The app on a Unix socket, served as ``bot.py worker`` serves it."""
    listener = listen_uds(path)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on", timeout_graceful_shutdown=1))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield path
    finally:
        server.should_exit = True
        await serving


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another thread or process is about to do."""
    while not condition():
        await asyncio.sleep(0.01)
