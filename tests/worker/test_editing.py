"""Edits: the source stands beside the noise, and the result has the source's aspect."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from backends.worker.engine.editing import SourceBeside, canvas, edit_prompt, result_size
from backends.worker.engine.torch_engine import TorchEngine
from backends.worker.variants import BUNDLED_EDIT, VARIANTS
from domain.errors import Code, UserError
from domain.request import Size
from tests.worker.conftest import Recorder, body
from tests.worker.test_engine import counting

SIZES = st.builds(Size, st.integers(1, 6000), st.integers(1, 6000))


def gradient(size: tuple[int, int]) -> Image.Image:
    return Image.linear_gradient("L").resize(size).convert("RGB")


def edit(engine: TorchEngine, source: Image.Image, model: str = "tiny-edit", **options: Any) -> Image.Image:
    variant = "e1" if model == "tiny-edit" else "e1.1"
    job = body(model=model, variant=variant, **({"prompt": "make it red", "steps": 2} | options))
    return engine.make(job, source, Recorder()).image


@given(SIZES, st.sampled_from([128, 768, 1024]))
def test_the_canvas_fits_the_model(size: Size, side: int) -> None:
    fitted = canvas(size, side, square=False)
    assert fitted.width % 16 == fitted.height % 16 == 0
    assert 0 < fitted.width * fitted.height <= side * side


@given(SIZES)
def test_a_model_that_knows_squares_gets_a_square(size: Size) -> None:
    assert canvas(size, 768, square=True) == Size(768, 768)


@given(st.builds(Size, st.integers(100, 3000), st.integers(100, 3000)))
def test_the_result_has_the_input_s_aspect(size: Size) -> None:
    result = result_size(size, 1024)
    assert result.width / result.height == pytest.approx(size.width / size.height, rel=0.02)


@pytest.mark.parametrize("model", ["tiny-edit", "hidream-e1.1"])
@pytest.mark.parametrize("size", [(128, 128), (640, 480), (31, 77), (1, 300), (2000, 500)])
def test_any_input_is_edited_at_its_own_aspect(engine: TorchEngine, model: str, size: tuple[int, int]) -> None:
    image = edit(engine, gradient(size), model, steps=1)
    assert image.size == tuple(result_size(Size(*size), 128))


def test_the_same_seed_gives_the_same_pixels(engine: TorchEngine) -> None:
    first = edit(engine, gradient((100, 60))).tobytes()
    edit(engine, gradient((60, 100)), seed=3)
    engine.make(body(), None, Recorder())
    assert edit(engine, gradient((100, 60))).tobytes() == first


def test_the_source_decides_what_comes_out(engine: TorchEngine) -> None:
    assert edit(engine, gradient((64, 64))).tobytes() != edit(engine, Image.new("RGB", (64, 64))).tobytes()


def test_an_edit_without_a_picture_is_refused(engine: TorchEngine) -> None:
    with pytest.raises(UserError) as refused:
        engine.make(body(model="tiny-edit", variant="e1"), None, Recorder())
    assert refused.value.code is Code.PICTURE_UNREADABLE


@pytest.mark.parametrize(("guidance", "batch"), [(0.0, 1), (1.0, 1), (3.0, 3)])
def test_guidance_costs_a_batch_of_three(engine: TorchEngine, guidance: float, batch: int) -> None:
    shapes: list[torch.Size] = []
    transformer = engine.loaded_model("tiny-edit").pipeline.transformer
    hook = transformer.register_forward_pre_hook(
        lambda _module, _inputs, options: shapes.append(options["hidden_states"].shape), with_kwargs=True
    )
    try:
        edit(engine, gradient((64, 64)), guidance=guidance, steps=2)
    finally:
        hook.remove()
    assert shapes == [torch.Size((batch, 12, 16, 32))] * 2


def test_editing_leaves_the_transformer_as_it_was(engine: TorchEngine) -> None:
    transformer = engine.loaded_model("tiny-edit").pipeline.transformer
    before = transformer.max_seq
    edit(engine, gradient((64, 32)), "hidream-e1.1")
    assert transformer.max_seq == before


def test_encoders_and_vae_are_shared_with_the_painter(engine: TorchEngine) -> None:
    painter, editor = (engine.loaded_model(key).pipeline for key in ("tiny", "tiny-edit"))
    for part in ("vae", "text_encoder", "text_encoder_2", "text_encoder_3", "text_encoder_4", "tokenizer_4"):
        assert getattr(editor, part) is getattr(painter, part)
    assert editor.transformer is not painter.transformer


def test_the_editor_uses_the_painter_s_prompt_cache(engine: TorchEngine) -> None:
    prompt = "shared by both"
    engine.make(body(prompt=prompt), None, Recorder())
    with counting(engine.loaded_model("tiny").pipeline.text_encoder_4) as calls:
        edit(engine, gradient((64, 64)), prompt=prompt)
    assert not calls


class Fixed(torch.nn.Module):
    """Answers with three known predictions."""

    max_seq = 1

    def __init__(self, *values: float) -> None:
        super().__init__()
        self.values = values
        self.inputs: dict[str, torch.Tensor] = {}

    def forward(self, **inputs: torch.Tensor) -> tuple[torch.Tensor]:
        self.inputs = inputs
        shape = inputs["hidden_states"].shape[1:]
        return (torch.stack([torch.full(shape, value) for value in self.values]),)


def guided(variant: str, guidance: float, *values: float) -> tuple[torch.Tensor, Fixed]:
    transformer = Fixed(*values)
    beside = SourceBeside(transformer, torch.ones(1, 1, 2, 2), VARIANTS[variant], guidance, max_seq=8)
    (answer,) = beside(
        hidden_states=torch.zeros(2, 1, 2, 2),
        timesteps=torch.zeros(2),
        encoder_hidden_states_t5=torch.tensor([0.0, 1.0]).reshape(2, 1, 1),
        encoder_hidden_states_llama3=torch.tensor([0.0, 1.0]).reshape(1, 2, 1, 1),
        pooled_embeds=torch.tensor([0.0, 1.0]).reshape(2, 1),
    )
    return answer, transformer


def test_the_three_ways_are_nothing_the_source_and_both() -> None:
    answer, transformer = guided("e1", 5.0, 1.0, 2.0, 4.0)
    # nothing + 4 * (source - nothing) + 5 * (both - source), given back to each of the pipeline's two rows.
    assert torch.equal(answer, torch.full((2, 1, 2, 2), 1.0 + 4.0 * 1.0 + 5.0 * 2.0))
    sources = transformer.inputs["hidden_states"][..., 2:]
    assert sources.amax(dim=(1, 2, 3)).tolist() == [0.0, 1.0, 1.0]
    for name in ("encoder_hidden_states_t5", "encoder_hidden_states_llama3", "pooled_embeds"):
        assert transformer.inputs[name].flatten().tolist() == [0.0, 0.0, 1.0]


def test_e1_1_keeps_the_prediction_s_length() -> None:
    answer, _ = guided("e1.1", 3.0, 1.0, 2.0, 4.0)
    # 2 + 3 * (4 - 2) = 8 is longer than 4 and is cut back to it; then 1 + 1.5 * (4 - 1).
    assert answer.flatten().tolist() == pytest.approx([5.5] * 8)


def test_the_prompt_has_the_form_that_the_weights_know() -> None:
    assert edit_prompt(BUNDLED_EDIT, "make it red") == "make it red"
    assert edit_prompt(VARIANTS["e1.1"], "make it red") == "make it red"
    written = edit_prompt(VARIANTS["e1"], "Make it red.")
    assert written.startswith("Editing Instruction: Make it red. Target Image Description: ")
    assert written.partition("Target Image Description: ")[2] not in ("", "Make it red.")
    assert edit_prompt(VARIANTS["e1"], written) == written
