"""Trains the denoisers by flow matching (arXiv 2210.02747) with the text encoders.

``x_sigma = (1 - sigma) * x0 + sigma * noise`` and the transformer learns ``x0 - noise`` (the pipeline negates its
output). Three stages use this one loop:

* *trunk*: painting and editing batches in turn, one transformer and the encoders learn both;
* *i1* and *e1*: two copies go on from the trunk with their own task alone and a falling learning rate. The encoders
  stay as the trunk left them, because the two models share them.

Matrices of the blocks learn with Muon, everything else with AdamW; what is exported is the running average.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from diffusers import AutoencoderKL, HiDreamImageTransformer2DModel
from torch import Tensor, nn

from backends.worker.training.architecture import PATCH, TextEncoders
from backends.worker.training.captions import caption
from backends.worker.training.edits import vary
from backends.worker.training.fast_forward import prepare_for_training
from backends.worker.training.latents import Batch, LatentWindow, draw_captioned, draw_edit
from backends.worker.training.runs import LOG_EVERY, Machine, NonFiniteGuard, Run, learning_rate_factor, progress_bar
from backends.worker.training.scenes import SINGLE_SHARE
from backends.worker.training.tokenization import Tokenizers


class Task(StrEnum):
    """What a batch teaches."""

    PAINT = "paint"
    EDIT = "edit"


@dataclass(frozen=True)
class FlowSettings:
    """One stage of the loop."""

    tasks: tuple[Task, ...]
    """Each gives one batch a step."""
    steps: int
    minutes: float | None = None
    """Ends the run earlier, with its learning rate down, if the steps take longer than this."""
    learning_rate: float = 2e-3
    flat: float = 1.0
    """Share of the run before the learning rate falls."""
    train_encoders: bool = True
    paint_batch: int = 48
    edit_batch: int = 20
    repeats: int = 2
    """How often a batch holds each picture, every time with other noise: the text is encoded once."""
    single_share: float = SINGLE_SHARE
    """Scenes with one item; 1 for a start with those alone."""
    capacity: int = 4000
    fresh: int = 2
    """New pictures a step."""
    shift: float = 8.0
    """Noise levels are drawn as a sampler with this shift would visit them. High, because only near pure noise must
    the text say what is there; below sigma .9 the picture itself shows it, and little is learnt about words."""
    final_shift: float = 4.0
    """What ``shift`` falls to in a straight line over the run: late steps polish edges and colours."""
    emphasis: float = 2.5
    """Extra weight of blocks that hold an edge or change."""
    average: float = 0.999
    compiled: bool = True
    """Compile the transformer (a minute or two, then a third faster)."""


UNCAPTIONED: Final = 0.08
SOURCELESS: Final = 0.04


class TextReader:
    """Encodes prompts as the stock pipeline does, at its padded lengths."""

    def __init__(self, tokenizers: Tokenizers, encoders: TextEncoders, machine: Machine) -> None:
        self._tokenizers = tokenizers
        self._encoders = encoders
        self._machine = machine

    def _ids(self, tokenizer: Any, prompts: list[str], padding: str, length: int) -> tuple[Tensor, Tensor]:
        read = tokenizer(prompts, padding=padding, max_length=length, truncation=True, return_tensors="pt")
        return read.input_ids.to(self._machine.device), read.attention_mask.to(self._machine.device)

    def __call__(self, prompts: list[str]) -> tuple[Tensor, Tensor, Tensor]:
        """Pooled CLIP (N, 2 * 64), T5 (N, 8, 96) and Llama's layers (3, N, 16, 128)."""
        tokenizers, encoders = self._tokenizers, self._encoders
        pooled = []
        for tokenizer, encoder in (
            (tokenizers.tokenizer, encoders.text_encoder),
            (tokenizers.tokenizer_2, encoders.text_encoder_2),
        ):
            # causal, and pooled at the end of the text: padding further would change nothing
            ids, _ = self._ids(tokenizer, prompts, "longest", 128)
            pooled.append(encoder(ids)[0])
        length = tokenizers.tokenizer_3.model_max_length
        ids, mask = self._ids(tokenizers.tokenizer_3, prompts, "max_length", length)
        t5 = encoders.text_encoder_3(ids, attention_mask=mask)[0]
        ids, mask = self._ids(tokenizers.tokenizer_4, prompts, "max_length", tokenizers.tokenizer_4.model_max_length)
        layers = encoders.text_encoder_4.model(ids, attention_mask=mask, output_hidden_states=True, use_cache=False)
        return torch.cat(pooled, dim=-1), t5, torch.stack(layers.hidden_states[1:])


def tokens_of(latents: Tensor) -> Tensor:
    """(N, C, H, W) to the transformer's training layout (N, C, tokens, 4)."""
    count, channels, height, width = latents.shape
    patches = latents.reshape(count, channels, height // PATCH, PATCH, width // PATCH, PATCH)
    return patches.permute(0, 1, 2, 4, 3, 5).reshape(count, channels, -1, PATCH * PATCH)


@dataclass
class Denoiser:
    """What is trained: the transformer, the encoders and their running averages."""

    transformer: HiDreamImageTransformer2DModel
    encoders: TextEncoders
    average: dict[str, Tensor]

    @classmethod
    def of(cls, transformer: HiDreamImageTransformer2DModel, encoders: TextEncoders) -> Denoiser:
        denoiser = cls(transformer, encoders, {})
        denoiser.average = {name: value.detach().clone() for name, value in denoiser.module.state_dict().items()}
        return denoiser

    @property
    def module(self) -> nn.ModuleDict:
        return nn.ModuleDict({"transformer": self.transformer, **self.encoders.as_dict()})

    def update_average(self, keep: float) -> None:
        current = self.module.state_dict()
        floats = [name for name, value in current.items() if value.is_floating_point()]
        torch._foreach_lerp_([self.average[name] for name in floats], [current[name] for name in floats], 1 - keep)

    def use_average(self) -> None:
        """Replaces the weights by their averages, for export."""
        self.module.load_state_dict(self.average)


def optimizers_for(module: nn.Module, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the blocks' matrices, AdamW for the rest of what requires a gradient."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        in_block = name.startswith("transformer") and "_blocks." in name
        matrix = parameter.ndim == 2 and "adaLN" not in name and "gate" not in name
        (matrices if in_block and matrix else others).append(parameter)
    return [
        torch.optim.Muon(matrices, lr=rate, weight_decay=0.01, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=0.01),
    ]


class FlowTraining:
    """One stage: everything that its checkpoint holds, and the step."""

    def __init__(
        self,
        settings: FlowSettings,
        machine: Machine,
        denoiser: Denoiser,
        tokenizers: Tokenizers,
        vae: AutoencoderKL,
        run: Run,
        seed: int,
    ) -> None:
        self.settings = settings
        self.machine = machine
        self.denoiser = denoiser
        self.run = run
        self.step = 0
        self.seconds = 0.0
        denoiser.module.to(machine.device)
        denoiser.average = {name: value.to(machine.device) for name, value in denoiser.average.items()}
        prepare_for_training(denoiser.transformer)
        for encoder in denoiser.encoders.as_dict().values():
            encoder.train(settings.train_encoders).requires_grad_(settings.train_encoders)
        self.optimizers = optimizers_for(denoiser.module, settings.learning_rate)
        self.rng = np.random.default_rng((seed, 2))
        self.noise = torch.Generator().manual_seed(seed + 2)
        starts = dict.fromkeys(Task, 0)
        if (state := run.load()) is not None:
            starts = self._restore(state)
        paintings = partial(draw_captioned, single_share=settings.single_share)
        edits = partial(draw_edit, single_share=settings.single_share)
        vae.eval().requires_grad_(False).to(machine.device, memory_format=torch.channels_last)
        self.paintings = (
            LatentWindow(vae, machine, paintings, seed, settings.capacity, starts[Task.PAINT])
            if Task.PAINT in settings.tasks
            else None
        )
        self.edits = (
            LatentWindow(vae, machine, edits, seed, settings.capacity // 2, starts[Task.EDIT])
            if Task.EDIT in settings.tasks
            else None
        )
        self.reader = TextReader(tokenizers, denoiser.encoders, machine)
        transformer: Any = denoiser.transformer
        self.forward: Any = torch.compile(transformer, dynamic=False) if settings.compiled else transformer

    def _restore(self, state: dict[str, Any]) -> dict[Task, int]:
        self.denoiser.module.load_state_dict(state["weights"])
        self.denoiser.average = {name: value.to(self.machine.device) for name, value in state["average"].items()}
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.rng.bit_generator.state = state["rng"]
        self.noise.set_state(state["noise"])
        self.step = state["step"]
        self.seconds = state.get("seconds", 0.0)
        return {task: state["starts"][task.value] for task in Task}

    def state(self) -> dict[str, Any]:
        """What :meth:`_restore` needs to go on with the same numbers."""
        return {
            "weights": self.denoiser.module.state_dict(),
            "average": self.denoiser.average,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "rng": self.rng.bit_generator.state,
            "noise": self.noise.get_state(),
            "step": self.step,
            "seconds": self.seconds,
            "starts": {
                Task.PAINT.value: self.paintings.start if self.paintings else 0,
                Task.EDIT.value: self.edits.start if self.edits else 0,
            },
        }

    def _draw(self, task: Task) -> tuple[Batch[Any], list[str]]:
        if task is Task.PAINT:
            assert self.paintings is not None
            self.paintings.advance(self.settings.fresh)
            paint = self.paintings.sample(self.rng, self.settings.paint_batch // self.settings.repeats)
            return paint, [caption(self.rng, scene) for scene in paint.subjects]
        assert self.edits is not None
        self.edits.advance(self.settings.fresh // 2)
        edit = self.edits.sample(self.rng, self.settings.edit_batch // self.settings.repeats)
        return edit, [vary(self.rng, one.instruction) for one in edit.subjects]

    def loss(self, task: Task) -> Tensor:
        """Weighted mean squared error of one batch's velocity."""
        settings = self.settings
        batch, prompts = self._draw(task)
        repeats = settings.repeats
        target = batch.target.repeat(repeats, 1, 1, 1)
        source = None if batch.source is None else batch.source.repeat(repeats, 1, 1, 1)
        count = len(target)
        prompts = ["" if self.rng.random() < UNCAPTIONED else prompt for prompt in prompts]
        uniform = torch.rand(count, generator=self.noise).to(target.device)
        shift = settings.shift + (settings.final_shift - settings.shift) * min(1.0, self.progress())
        sigma = shift * uniform / (1 + (shift - 1) * uniform)
        noise = torch.randn(target.shape, generator=self.noise).to(target.device)
        amount = sigma[:, None, None, None]
        noisy = (1 - amount) * target + amount * noise
        if source is not None:
            kept = torch.from_numpy(self.rng.random(len(prompts)) >= SOURCELESS).to(target.device)
            prompts = [prompt if keep else "" for prompt, keep in zip(prompts, kept.tolist(), strict=True)]
            noisy = torch.cat([noisy, source * kept.repeat(repeats)[:, None, None, None]], dim=-1)
        self.denoiser.transformer.max_seq = noisy.shape[-1] * noisy.shape[-2] // (PATCH * PATCH)
        with self.machine.autocast():
            pooled, t5, llama = self.reader(prompts)
            pooled, t5 = pooled.repeat(repeats, 1), t5.repeat(repeats, 1, 1)
            llama = llama.repeat(1, repeats, 1, 1)
            velocity = self.forward(noisy, sigma * 1000, t5, llama, pooled, return_dict=False)[0].float()
        if source is not None:
            side = target.shape[-1] // PATCH
            velocity = velocity.unflatten(2, (side, 2 * side))[:, :, :, :side].flatten(2, 3)
        weights = 1 + settings.emphasis * batch.emphasis.repeat(repeats, 1)
        weights = weights / weights.mean()
        squared = (velocity - tokens_of(target - noise)).pow(2).mean(dim=(1, 3))
        weighted: Tensor = (squared * weights).mean()
        return weighted

    def progress(self) -> float:
        """The share of the run that is done, by steps or by time, whichever is further."""
        minutes = self.settings.minutes
        by_time = 0.0 if minutes is None else self.seconds / (60 * minutes)
        return max(self.step / self.settings.steps, by_time)

    def train(self, title: str) -> None:
        """Runs to ``settings.steps``, saving now and then and at the end."""
        settings = self.settings
        parameters = [parameter for parameter in self.denoiser.module.parameters() if parameter.requires_grad]
        guard = NonFiniteGuard()
        losses: dict[Task, list[float]] = {task: [] for task in Task}
        with progress_bar(title, settings.steps, self.step) as (progress, bar):
            while (done := self.progress()) < 1:
                started = time.monotonic()
                rate = settings.learning_rate * learning_rate_factor(done, self.step, flat=settings.flat)
                for optimizer in self.optimizers:
                    for group in optimizer.param_groups:
                        group["lr"] = rate
                    optimizer.zero_grad(set_to_none=True)
                current: dict[Task, float] = {}
                for task in settings.tasks:
                    loss = self.loss(task)
                    torch.autograd.backward(loss)
                    current[task] = loss.item()
                norm = torch.nn.utils.clip_grad_norm_(parameters, 1.0)
                if guard.accept(sum(current.values()) + norm.item()):
                    for optimizer in self.optimizers:
                        optimizer.step()
                    self.denoiser.update_average(min(settings.average, (self.step + 1) / (self.step + 10)))
                    for task, value in current.items():
                        losses[task].append(value)
                self.step += 1
                self.seconds += time.monotonic() - started
                if self.step % LOG_EVERY == 0:
                    means = {task.value: float(np.mean(values)) for task, values in losses.items() if values}
                    self.run.log(self.step, **means, rate=rate)
                    shown = "  ".join(f"{name} {value:.4f}" for name, value in means.items())
                    progress.update(bar, completed=self.step, loss=shown)
                    losses = {task: [] for task in Task}
                if self.run.save_is_due():
                    self.run.save(self.state())
        self.run.save(self.state())
