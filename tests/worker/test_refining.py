"""HiDream-E1's refinement: who computes which steps, with which words."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from backends.worker.engine.editing import edit_prompt, given_description
from backends.worker.engine.embeddings import Embeddings
from backends.worker.engine.refining import Relay, first_refined_step
from backends.worker.engine.torch_engine import TorchEngine
from backends.worker.variants import VARIANTS, LocalModel
from tests.worker.conftest import TINY_I1, Recorder, body
from tests.worker.test_editing import gradient
from tests.worker.test_engine import counting

DESCRIBED = "Editing Instruction: make it red. Target Image Description: a red circle on a white background"


@pytest.mark.parametrize(
    ("steps", "strength", "editor"), [(28, 0.3, 19), (28, 0, 28), (10, 0.3, 7), (1, 0.3, 0), (4, 1.0, 0)]
)
def test_the_editor_takes_the_first_share(steps: int, strength: float, editor: int) -> None:
    assert first_refined_step(steps, strength) == editor


@pytest.mark.parametrize(
    ("prompt", "description"),
    [
        (DESCRIBED, "a red circle on a white background"),
        ("make it red. Target Image Description: a red circle", "a red circle"),
        ("make it red. Target Image Description:  ", None),
        ("make it red", None),
    ],
)
def test_a_description_that_a_person_wrote_is_found(prompt: str, description: str | None) -> None:
    assert given_description(prompt) == description


def test_half_of_the_form_is_filled_up() -> None:
    half = edit_prompt(VARIANTS["e1"], "Editing Instruction: make the car red. Target Image Description:")
    assert half == edit_prompt(VARIANTS["e1"], "make the car red")


class Seen(torch.nn.Module):
    """Remembers what it was given."""

    max_seq = 8

    def __init__(self) -> None:
        super().__init__()
        self.prompts: list[list[float]] = []

    def forward(self, hidden_states: torch.Tensor, **inputs: torch.Tensor) -> tuple[torch.Tensor]:
        assert inputs["encoder_hidden_states_llama3"].shape[1] == len(hidden_states)
        self.prompts.append(inputs["pooled_embeds"].flatten().tolist())
        return (hidden_states,)


def words(value: float) -> Embeddings:
    return Embeddings(torch.full((1, 2, 3), value), torch.full((4, 1, 2, 3), value), torch.full((1, 1), value))


@pytest.mark.parametrize("guided", [True, False])
def test_each_is_called_in_its_turn_with_words_of_its_own(guided: bool) -> None:
    editor, painter = Seen(), Seen()
    rows = 2 if guided else 1
    relay = Relay(editor, painter, words(5.0), words(4.0) if guided else None, editor_steps=2)
    given = words(1.0)
    for _ in range(3):
        relay(
            hidden_states=torch.zeros(rows, 1, 2, 2),
            timesteps=torch.zeros(rows),
            encoder_hidden_states_t5=given.t5.repeat(rows, 1, 1),
            encoder_hidden_states_llama3=given.llama.repeat(1, rows, 1, 1),
            pooled_embeds=given.pooled.repeat(rows, 1),
        )
    assert editor.prompts == [[1.0] * rows] * 2
    assert painter.prompts == [[4.0, 5.0] if guided else [5.0]]


@pytest.fixture(scope="module")
def pair(editor_folder: Path) -> TorchEngine:
    """HiDream-I1-Full and E1, in small."""
    engine = TorchEngine(
        [
            LocalModel("hidream-i1-full", VARIANTS["full"], str(TINY_I1)),
            LocalModel("hidream-e1-full", VARIANTS["e1"], str(editor_folder)),
        ],
        llama="unused",
    )
    engine.load()
    assert not engine.problems
    return engine


def calls(engine: TorchEngine, prompt: str, guidance: float) -> tuple[bytes, Iterator[int]]:
    with ExitStack() as stack:
        counts = [
            stack.enter_context(counting(engine.loaded_model(key).pipeline.transformer))
            for key in ("hidream-e1-full", "hidream-i1-full")
        ]
        job = body(model="hidream-e1-full", variant="e1", prompt=prompt, steps=4, guidance=guidance)
        image = engine.make(job, gradient((64, 64)), Recorder()).image
        return image.tobytes(), map(len, counts)


@pytest.mark.parametrize("guidance", [0.0, 5.0])
def test_the_painter_ends_an_edit_whose_result_was_described(pair: TorchEngine, guidance: float) -> None:
    plain, (editor, painter) = calls(pair, "make it red", guidance)
    assert (editor, painter) == (4, 0)
    refined, (editor, painter) = calls(pair, DESCRIBED, guidance)
    assert (editor, painter) == (2, 2)
    assert refined != plain
    assert calls(pair, DESCRIBED, guidance)[0] == refined
    assert calls(pair, "make it red", guidance)[0] == plain
