"""The engine: loads the models and makes one picture after another on one thread."""

import gc
import logging
import os
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import Any

import diffusers
import torch
import transformers
from PIL import Image

from backends.worker.acceleration.accelerate import Acceleration
from backends.worker.acceleration.switch import as_written
from backends.worker.engine import editing
from backends.worker.engine.adapters import Adapter, wearing
from backends.worker.engine.embeddings import EmbeddingsCache
from backends.worker.engine.interface import Painted, Preview, Watch
from backends.worker.engine.loading import GRID, LoadedModel, Placement, is_out_of_memory, load, out_of_memory
from backends.worker.engine.painting import Recipe, paint
from backends.worker.engine.placement import place
from backends.worker.engine.preview import PreviewThread
from backends.worker.engine.refining import Relay, first_refined_step
from backends.worker.engine.schedulers import Scheduler
from backends.worker.engine.speeding import WarmUp, speed_up, warm_up_seconds
from backends.worker.loras import LoraFolder
from backends.worker.protocol import FiguresBody, JobBody, LookupsBody
from backends.worker.variants import LocalModel, Variant
from config.settings import LocalMemory, LocalSpeed
from domain.errors import Code, EaselError, OperatorError, UserError
from domain.request import Kind, Size

log = logging.getLogger(__name__)

SMALL_MODEL = 100_000_000
"""Parameters. On a CPU a smaller transformer is faster on one thread than on several (measured on the bundled
one: 0.41 s a picture on one); the number of threads never changes while the process lives."""


class TorchEngine:
    """Implements ``interface.Engine``."""

    def __init__(
        self,
        models: Sequence[LocalModel],
        llama: str,
        device: str | None = None,
        *,
        loras: LoraFolder | None = None,
        speed: LocalSpeed = LocalSpeed.AUTO,
        memory: LocalMemory = LocalMemory.AUTO,
        vae_pixels: int = 1 << 20,
    ) -> None:
        """``llama``: folder or hub id of the fourth text encoder. ``device``: torch's name of one; the default
        is the first GPU, or else the CPU. ``loras``: those that a job may name. ``speed``: by what means it
        computes. ``memory``: how much of the GPU's it takes. ``vae_pixels``: pictures of more are decoded in tiles.
        """
        self._models = tuple(models)
        self._llama = llama
        self._loras = loras or LoraFolder(None)
        self._speed = speed
        self._memory = memory
        self._vae_pixels = vae_pixels
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._dtype = torch.float32 if self._device.type == "cpu" else torch.bfloat16
        self._placement: Placement | None = None
        self._loaded: dict[str, LoadedModel] = {}
        self._accelerations: dict[str, Acceleration] = {}
        self._problems: dict[str, EaselError] = {}
        self._embeddings = EmbeddingsCache()
        self._last_model: str | None = None
        self._same_model, self._other_model = 0, 0

    @property
    def models(self) -> tuple[LocalModel, ...]:
        """Everything that it serves, loaded or not."""
        return self._models

    @property
    def loaded(self) -> frozenset[str]:
        """Keys of the models that are ready."""
        return frozenset(self._loaded)

    @property
    def problems(self) -> Mapping[str, EaselError]:
        """Why models could not be loaded, by key."""
        return MappingProxyType(self._problems)

    @property
    def device(self) -> str:
        """Where it computes and by what means, for people."""
        name = "CPU" if self._device.type == "cpu" else torch.cuda.get_device_name(self._device)
        done = dict.fromkeys(one.words for one in self._accelerations.values() if one.words)
        return f"{name} ({'; '.join(done)})" if done else name

    @property
    def warm_up_seconds(self) -> float:
        """Of all models, by estimate."""
        return len(self._models) * warm_up_seconds(self._speed, self._device)

    def figures(self) -> FiguresBody:
        """Memory of the GPU (or of this process) and how often the prompts' embeddings were there."""
        if self._device.type == "cuda":
            free, total = torch.cuda.mem_get_info(self._device)
            used = total - free
        else:
            page = os.sysconf("SC_PAGE_SIZE")
            used = int(Path("/proc/self/statm").read_text("ascii").split()[1]) * page
            total = os.sysconf("SC_PHYS_PAGES") * page
        caches = {
            "prompt_embeddings": LookupsBody(hits=self._embeddings.hits, misses=self._embeddings.misses),
            "model": LookupsBody(hits=self._same_model, misses=self._other_model),
        }
        return FiguresBody(memory_used_bytes=used, memory_total_bytes=total, caches=caches)

    def load(self) -> None:
        """Load every model; what could not be loaded is in ``problems``."""
        _quiet_libraries()
        # Picking kernels by timing them would pick others the next time, with other roundings.
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
        for model in self._models:
            if model.key in self._loaded:
                continue
            started = time.monotonic()
            try:
                loaded = load(model, self._llama, self._placed(), list(self._loaded.values()))
                self._speed_up(loaded)
            except OperatorError as error:
                log.error("%s cannot be used: %s", model.name, error, exc_info=error.__cause__)
                self._problems[model.key] = error
                self._free()
                continue
            if not self._loaded:
                self._fix_threads(loaded)
            self._loaded[model.key] = loaded
            log.info("%s is loaded (%.1f s, %s)", model.name, time.monotonic() - started, self.device)

    def make(self, body: JobBody, source: Image.Image | None, watch: Watch) -> Painted:
        """Make one picture. Raises UserError, OperatorError and Cancelled."""
        model = self.loaded_model(body.model)
        variant = model.local.variant_named(body.variant)
        if variant is None:
            raise UserError(Code.MODEL_UNKNOWN, model=f"{body.model} ({body.variant})"[:100])
        if body.model == self._last_model:
            self._same_model += 1
        else:
            self._last_model = body.model
            self._other_model += 1
        return self._make(model, variant, body, source, watch)

    def _make(
        self, model: LoadedModel, variant: Variant, body: JobBody, source: Image.Image | None, watch: Watch
    ) -> Painted:
        try:
            try:
                return self._make_once(model, variant, body, source, watch)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            # The error, which is gone here, held all that the failed attempt had made.
            self._free()
            log.warning("%s does not fit; once more with nothing else on the GPU", model.local.shown_name)
            with self._placed().residency.tight():
                return self._make_once(model, variant, body, source, watch)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            self._free()
            raise out_of_memory(model.local, self._device) from error

    def _make_once(
        self, model: LoadedModel, variant: Variant, body: JobBody, source: Image.Image | None, watch: Watch
    ) -> Painted:
        shown = model.local.shown_name
        adapters = [Adapter(lora.name, self._loras.file(lora.name, shown), lora.weight) for lora in body.loras]
        # What a LoRA puts around the experts' layers reads numbers back, which no compiled block may.
        acceleration = self._accelerations.get(model.local.key)
        with as_written(acceleration) if adapters else nullcontext(), wearing(model.pipeline, adapters, shown):
            if model.local.kind is Kind.EDIT:
                return self._edit(model, variant, body, source, watch)
            return self._imagine(model, variant, body, watch)

    def _placed(self) -> Placement:
        """Where the parts go: decided when the first model is loaded. Raises OperatorError (SETTING_INVALID)."""
        if self._placement is None:
            self._placement = place(self._models, self._llama, self._device, self._dtype, self._memory)
        return self._placement

    def _imagine(self, model: LoadedModel, variant: Variant, body: JobBody, watch: Watch) -> Painted:
        recipe = self._recipe(model, variant, body, body.prompt, _size(model, body))
        return self._paint(model, model.pipeline.transformer, recipe, body, watch)

    def _paint(self, model: LoadedModel, transformer: Any, recipe: Recipe, body: JobBody, watch: Watch) -> Painted:
        with PreviewThread(watch.preview) as previews:
            return paint(model.pipeline, transformer, recipe, _Reporter(model, recipe.steps, body, watch, previews))

    def _edit(
        self, model: LoadedModel, variant: Variant, body: JobBody, source: Image.Image | None, watch: Watch
    ) -> Painted:
        if source is None:
            raise UserError(Code.PICTURE_UNREADABLE, filename="image")
        given = Size(*source.size)
        size = editing.canvas(given, model.side, variant.square)
        recipe = self._recipe(model, variant, body, editing.edit_prompt(variant, body.prompt), size)
        editor = editing.SourceBeside(
            model.pipeline.transformer,
            editing.source_latents(model.pipeline, source, size, self._vae_pixels),
            variant,
            recipe.guidance,
            max_seq=2 * model.max_pixels // GRID**2,
        )
        transformer = self._refined(editor, variant, body, recipe)
        painted = self._paint(model, transformer, recipe, body, watch)
        wanted = editing.result_size(given, model.side)
        if wanted == painted.image.size:
            return painted
        return Painted(painted.image.resize(wanted, Image.Resampling.LANCZOS), painted.seconds)

    def _refined(
        self, editor: editing.SourceBeside, variant: Variant, body: JobBody, recipe: Recipe
    ) -> editing.SourceBeside | Relay:
        """The editor, relieved by HiDream-I1-Full where that is loaded and the person described the picture to come.

        A description made from the instruction says too little of the picture for a painter that does not see it.
        """
        description = editing.given_description(body.prompt)
        painter = next((one for one in self._loaded.values() if one.local.variant.name == "full"), None)
        if not variant.refine or description is None or painter is None:
            return editor
        prompt = self._embeddings.encode(painter.pipeline, description)
        steps = first_refined_step(recipe.steps, variant.refine)
        return Relay(editor, painter.pipeline.transformer, prompt, recipe.negative, steps)

    def _recipe(self, model: LoadedModel, variant: Variant, body: JobBody, prompt: str, size: Size) -> Recipe:
        steps = body.steps or variant.steps
        guidance = variant.guidance if body.guidance is None else body.guidance
        negative = None
        if guidance > 1:
            negative = self._embeddings.encode(model.pipeline, body.negative_prompt or "")
        return Recipe(
            variant=variant,
            prompt=self._embeddings.encode(model.pipeline, prompt),
            negative=negative,
            size=size,
            steps=steps,
            guidance=guidance,
            seed=body.seed,
            variations=body.variations,
            cache=body.accelerators.step_cache(steps) if body.accelerators is not None else None,
            vae_pixels=self._vae_pixels,
        )

    def loaded_model(self, key: str) -> LoadedModel:
        """The model of that key. Raises why it could not be loaded, or UserError (MODEL_UNKNOWN)."""
        loaded = self._loaded.get(key)
        if loaded is not None:
            return loaded
        problem = self._problems.get(key)
        if problem is not None:
            raise problem.with_traceback(None)
        raise UserError(Code.MODEL_UNKNOWN, model=key[:100])

    def _speed_up(self, model: LoadedModel) -> None:
        """Raises OperatorError (MODEL_LOADING_FAILED, OUT_OF_MEMORY)."""
        variant = model.local.variant
        warm_up = WarmUp(
            model, self._vae_pixels, lambda body, source: self._make(model, variant, body, source, _Nobody())
        )
        self._accelerations[model.local.key] = speed_up(warm_up, self._speed, self._placed())

    def _fix_threads(self, model: LoadedModel) -> None:
        if self._device.type == "cpu":
            parameters = sum(part.numel() for part in model.pipeline.transformer.parameters())
            torch.set_num_threads(1 if parameters < SMALL_MODEL else os.cpu_count() or 1)

    def _free(self) -> None:
        """Give back what a failed job left in the allocator's hands."""
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def _quiet_libraries() -> None:
    """No progress bars in a log file, and no warnings that quote people's prompts."""
    for library in (diffusers.utils.logging, transformers.utils.logging):
        library.set_verbosity_error()
        if not sys.stderr.isatty():
            library.disable_progress_bar()
    # Two LoRAs at once, and one that is taken back, are meant.
    warnings.filterwarnings("ignore", module="peft", category=UserWarning)


class _Nobody:
    """Follows a picture that nobody waits for."""

    def step(self, step: int, steps: int) -> None:
        """Nothing to tell."""

    def preview(self, preview: Preview) -> None:
        """Nothing to show."""


class _Reporter:
    """Called at each step's end: tells the watch, and makes a preview when one is due."""

    def __init__(self, model: LoadedModel, steps: int, body: JobBody, watch: Watch, previews: PreviewThread) -> None:
        self._previews = previews
        self._model = model
        self._steps = steps
        self._every = body.preview_every
        self._watch = watch

    def __call__(self, step: int, scheduler: Scheduler) -> None:
        self._watch.step(step, self._steps)
        if self._every and step % self._every == 0 and step < self._steps:
            self._previews.encode(self._model.previews.begin(scheduler.denoised()))


def _size(model: LoadedModel, body: JobBody) -> Size:
    """The size asked for, or the model's own. Raises UserError for one that the model cannot paint."""
    if body.width is None and body.height is None:
        return Size(model.side, model.side)
    size = Size(body.width or model.side, body.height or model.side)
    for side in size:
        if side % GRID:
            raise UserError(Code.OPTION_NOT_A_STEP, option="size", value=side, step=GRID)
    pixels = size.width * size.height
    if pixels > model.max_pixels:
        raise UserError(
            Code.OPTION_OUT_OF_RANGE,
            option="size (pixels in all)",
            value=pixels,
            minimum=GRID**2,
            maximum=model.max_pixels,
        )
    return size
