"""Training: the fast pass equals diffusers' own, and a run that was cut goes on as if it had not been."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from backends.worker.training.__main__ import MODELS
from backends.worker.training.architecture import (
    LATENT_CHANNELS,
    LLAMA_LAYERS,
    LLAMA_WIDTH,
    T5_WIDTH,
    build_text_encoders,
    build_transformer,
    build_vae,
)
from backends.worker.training.export import I1_FOLDER
from backends.worker.training.fast_forward import prepare_for_training
from backends.worker.training.flow import Denoiser, FlowSettings, FlowTraining, Task, tokens_of
from backends.worker.training.runs import Machine, NonFiniteGuard, Run, TrainingDiverged, learning_rate_factor
from backends.worker.training.stages import DEFAULT_PLAN, MissingStage, Stage, Workshop, with_length
from backends.worker.training.tokenization import Tokenizers
from backends.worker.training.vae import Crops, VaeSettings, train_vae

CPU = Machine(torch.device("cpu"), low_precision=False)


@pytest.mark.parametrize("width", [16, 32])
def test_the_training_pass_equals_the_stock_one(width: int) -> None:
    torch.manual_seed(0)
    transformer = build_transformer(editing=width == 32)
    for parameter in transformer.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    inputs = (
        torch.randn(2, LATENT_CHANNELS, 16, width),
        torch.tensor([20.0, 900.0]),
        torch.randn(2, 8, T5_WIDTH),
        torch.randn(max(LLAMA_LAYERS) + 1, 2, 16, LLAMA_WIDTH),
        torch.randn(2, 128),
    )
    with torch.no_grad():
        stock = transformer.eval()(*inputs, return_dict=False)[0]
        prepare_for_training(transformer)
        fast = transformer(*inputs, return_dict=False)[0]
    torch.testing.assert_close(fast, tokens_of(stock), rtol=1e-4, atol=1e-5)


def train_painter(folder: Path, steps: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    tokenizers = Tokenizers.load(MODELS / I1_FOLDER)
    denoiser = Denoiser.of(build_transformer(editing=False), build_text_encoders(tokenizers))
    settings = FlowSettings(
        tasks=(Task.PAINT, Task.EDIT), steps=4, paint_batch=4, edit_batch=2, capacity=8, fresh=2, compiled=False
    )
    training = FlowTraining(settings, CPU, denoiser, tokenizers, build_vae(), Run(folder), seed=3)
    training.settings = replace(settings, minutes=None)
    while training.step < steps:
        training.settings = replace(settings, steps=training.step + 1, flat=1.0)
        training.train("test")
    return denoiser.average


def test_a_resumed_run_equals_an_unbroken_one(tmp_path: Path) -> None:
    torch.manual_seed(9)
    unbroken = train_painter(tmp_path / "unbroken", 4)
    train_painter(tmp_path / "cut", 2)
    resumed = train_painter(tmp_path / "cut", 4)
    for name, value in unbroken.items():
        torch.testing.assert_close(resumed[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_the_autoencoder_resumes(tmp_path: Path) -> None:
    settings = VaeSettings(steps=4, crops=(Crops(0.0, 32, 2),))
    run = Run(tmp_path)
    train_vae(build_vae(), run, CPU, replace(settings, steps=2), seed=1, title="test")
    vae = build_vae()
    train_vae(vae, run, CPU, settings, seed=1, title="test")
    state = run.load()
    assert state is not None
    assert state["step"] == 4
    assert all(torch.equal(value, state["vae"][name]) for name, value in vae.state_dict().items())


def test_a_run_that_diverges_stops() -> None:
    guard = NonFiniteGuard(patience=2)
    assert guard.accept(1.0)
    assert not guard.accept(float("nan"))
    with pytest.raises(TrainingDiverged):
        guard.accept(float("inf"))


def test_the_learning_rate_warms_up_holds_and_falls() -> None:
    factors = [learning_rate_factor(step / 1000, step, warmup=100, flat=0.5) for step in range(1000)]
    assert factors[0] == pytest.approx(0.01)
    assert factors[100:500] == [1.0] * 400
    assert np.all(np.diff(factors[501:]) < 0)
    assert factors[-1] < 0.03


def test_a_stage_names_the_one_that_is_missing(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path, CPU)
    with pytest.raises(MissingStage, match="vae"):
        workshop.train_trunk()


def test_one_stage_can_be_made_longer() -> None:
    longer = with_length(DEFAULT_PLAN, Stage.I1, steps=9, minutes=2.5)
    assert (longer.i1.steps, longer.i1.minutes) == (9, 2.5)
    assert longer.trunk == DEFAULT_PLAN.trunk
    with pytest.raises(ValueError, match="judge"):
        with_length(DEFAULT_PLAN, Stage.JUDGE, steps=1, minutes=None)
