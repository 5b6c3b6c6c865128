"""The stages from nothing to trained parts; each goes on from its own checkpoint and reads those before it.

A training folder holds ``tokenizers/``, then one folder a stage (``vae``, ``trunk``, ``i1``, ``e1``, ``decoder``)
with its ``checkpoint.pt`` and ``losses.jsonl``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

import torch
from diffusers import AutoencoderKL

from backends.worker.training.architecture import build_text_encoders, build_transformer, build_vae
from backends.worker.training.export import export_e1, export_i1
from backends.worker.training.flow import Denoiser, FlowSettings, FlowTraining, Task
from backends.worker.training.loss_curve import save_loss_curve
from backends.worker.training.runs import CHECKPOINT_NAME, Machine, Run
from backends.worker.training.scenes import CANVAS
from backends.worker.training.tokenization import Tokenizers, build_tokenizers
from backends.worker.training.vae import Crops, VaeSettings, measure_latents, train_vae


class Stage(StrEnum):
    """One step of the way, in order."""

    TOKENIZERS = "tokenizers"
    VAE = "vae"
    TRUNK = "trunk"
    I1 = "i1"
    E1 = "e1"
    DECODER = "decoder"
    EXPORT = "export"
    SUGGEST = "suggest"
    JUDGE = "judge"


class MissingStage(RuntimeError):
    """A stage was asked for before one that it builds on."""


@dataclass(frozen=True)
class Plan:
    """How long each stage trains."""

    vae: VaeSettings
    trunk: FlowSettings
    i1: FlowSettings
    e1: FlowSettings
    decoder: VaeSettings


DEFAULT_PLAN: Final = Plan(
    vae=VaeSettings(),
    trunk=FlowSettings(tasks=(Task.PAINT, Task.EDIT), steps=40000, flat=0.35),
    i1=FlowSettings(tasks=(Task.PAINT,), steps=5000, flat=0.2, train_encoders=False, shift=4.0),
    e1=FlowSettings(tasks=(Task.EDIT,), steps=12000, flat=0.25, train_encoders=False),
    decoder=VaeSettings(
        steps=2500,
        learning_rate=1e-3,
        crops=(Crops(0.0, 64, 12), Crops(0.5, CANVAS, 4)),
        decoder_only=True,
        latent_noise=0.25,
    ),
)
SEED: Final = 20
LOSS_CURVE_NAME: Final = "loss_curve.png"


@dataclass
class Workshop:
    """Runs stages in one training folder."""

    folder: Path
    machine: Machine
    plan: Plan = DEFAULT_PLAN
    seed: int = SEED

    def tokenizers(self) -> Tokenizers:
        """The folder's tokenizers, built on the first call."""
        folder = self.folder / Stage.TOKENIZERS
        if not folder.exists():
            build_tokenizers().save(folder)
        return Tokenizers.load(folder)

    def train_vae(self) -> None:
        torch.manual_seed(self.seed)
        train_vae(build_vae(), Run(self.folder / Stage.VAE), self.machine, self.plan.vae, self.seed, "autoencoder")

    def sharpen_decoder(self) -> None:
        """Goes on with the decoder alone; the latents stay what the denoisers know."""
        vae = self._vae(Stage.VAE)
        train_vae(vae, Run(self.folder / Stage.DECODER), self.machine, self.plan.decoder, self.seed + 7, "decoder")

    def train_trunk(self) -> None:
        self._train(Stage.TRUNK, self.plan.trunk, None)

    def train_i1(self) -> None:
        self._train(Stage.I1, self.plan.i1, self._trained(Stage.TRUNK))

    def train_e1(self) -> None:
        self._train(Stage.E1, self.plan.e1, self._trained(Stage.TRUNK))

    def export(self, models: Path) -> None:
        """Writes the shipped folders under ``models`` from the averaged weights.

        Before i1 and e1 have been trained on their own, both are the trunk.
        """
        vae = self._vae(Stage.DECODER if self._has(Stage.DECODER) else Stage.VAE)
        painter, editor = (
            self._trained(stage if self._has(stage) else Stage.TRUNK, average=True) for stage in (Stage.I1, Stage.E1)
        )
        editing = build_transformer(editing=True)
        editing.load_state_dict(editor.transformer.state_dict())
        export_i1(models, self.tokenizers(), painter.encoders, vae, painter.transformer)
        export_e1(models, editing)
        save_loss_curve(self.folder, models / LOSS_CURVE_NAME)

    def _has(self, stage: Stage) -> bool:
        return (self.folder / stage / CHECKPOINT_NAME).exists()

    def _train(self, stage: Stage, settings: FlowSettings, start: Denoiser | None) -> None:
        denoiser = self._new_denoiser() if start is None else start
        run = Run(self.folder / stage)
        vae = self._vae(Stage.VAE)
        training = FlowTraining(settings, self.machine, denoiser, self.tokenizers(), vae, run, self.seed)
        training.train(stage.value)

    def _new_denoiser(self) -> Denoiser:
        torch.manual_seed(self.seed + 1)
        return Denoiser.of(build_transformer(editing=False), build_text_encoders(self.tokenizers()))

    def _trained(self, stage: Stage, average: bool = False) -> Denoiser:
        """A stage's weights, or their running average."""
        state = Run(self.folder / stage).load()
        if state is None:
            raise MissingStage(f"{self.folder / stage} has no checkpoint: run the stage {stage.value} first")
        denoiser = self._new_denoiser()
        denoiser.module.load_state_dict(state["average" if average else "weights"])
        return Denoiser.of(denoiser.transformer, denoiser.encoders)

    def _vae(self, stage: Stage) -> AutoencoderKL:
        state = Run(self.folder / stage).load()
        if state is None:
            raise MissingStage(f"{self.folder / stage} has no checkpoint: run the stage {stage.value} first")
        vae = build_vae()
        if stage is Stage.DECODER:
            measured = self._vae(Stage.VAE).config
            shift, scale = measured.shift_factor, measured.scaling_factor
            vae.load_state_dict(state["vae"])
        else:
            vae.load_state_dict(state["vae"])
            shift, scale, _ = measure_latents(vae, self.machine, self.seed + 99)
        vae.register_to_config(shift_factor=round(shift, 6), scaling_factor=round(scale, 6))
        return vae


def with_length(plan: Plan, stage: Stage, steps: int | None, minutes: float | None) -> Plan:
    """The plan with one training stage made longer or shorter."""
    match stage:
        case Stage.VAE:
            return replace(plan, vae=replace(plan.vae, steps=steps or plan.vae.steps))
        case Stage.DECODER:
            return replace(plan, decoder=replace(plan.decoder, steps=steps or plan.decoder.steps))
        case Stage.TRUNK:
            return replace(plan, trunk=replace(plan.trunk, steps=steps or plan.trunk.steps, minutes=minutes))
        case Stage.I1:
            return replace(plan, i1=replace(plan.i1, steps=steps or plan.i1.steps, minutes=minutes))
        case Stage.E1:
            return replace(plan, e1=replace(plan.e1, steps=steps or plan.e1.steps, minutes=minutes))
        case _:
            raise ValueError(f"the stage {stage.value} has no length")


def singles_only(plan: Plan) -> Plan:
    """The plan with scenes of one item alone, which are learnt first and fastest."""
    return replace(
        plan,
        trunk=replace(plan.trunk, single_share=1.0, capacity=1600),
        i1=replace(plan.i1, single_share=1.0),
        e1=replace(plan.e1, single_share=1.0),
    )
