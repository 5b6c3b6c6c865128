"""Painting with LoRAs: they change the picture by their weight, and leave nothing behind."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from backends.worker.engine.interface import Cancelled
from backends.worker.engine.torch_engine import TorchEngine
from backends.worker.loras import LoraFolder
from domain.errors import Code, OperatorError, UserError
from tests.worker.conftest import LORAS, Recorder, body
from tests.worker.test_editing import edit, gradient

INK, WASH = LORAS
LAYER = "transformer.double_stream_blocks.0.block.attn1.to_q"


def paint(engine: TorchEngine, *loras: tuple[str, float]) -> bytes:
    job = body(loras=[{"name": name, "weight": weight} for name, weight in loras])
    return engine.make(job, None, Recorder()).image.tobytes()


def test_weight_0_changes_nothing_and_1_does(engine: TorchEngine) -> None:
    plain = paint(engine)
    assert paint(engine, (INK, 0)) == plain
    assert paint(engine, (INK, 1)) != plain


def test_the_weight_decides_how_much(engine: TorchEngine) -> None:
    assert len({paint(engine, (INK, weight)) for weight in (-1, 0.5, 1, 2)}) == 4


def test_two_work_together_in_any_order(engine: TorchEngine) -> None:
    both = paint(engine, (INK, 1), (WASH, 1))
    assert both not in (paint(engine, (INK, 1)), paint(engine, (WASH, 1)))
    assert paint(engine, (WASH, 1), (INK, 1)) == both


def test_one_named_twice_adds_up(engine: TorchEngine) -> None:
    assert paint(engine, (INK, 1), (INK, 1)) == paint(engine, (INK, 2))


def test_the_same_loras_give_the_same_pixels(engine: TorchEngine) -> None:
    first = paint(engine, (INK, 1))
    paint(engine, (WASH, 0.7))
    assert paint(engine, (INK, 1)) == first


def weights_of(engine: TorchEngine) -> dict[str, torch.Tensor]:
    return {
        name: tensor.clone() for name, tensor in engine.loaded_model("tiny").pipeline.transformer.state_dict().items()
    }


def test_the_transformer_is_afterwards_what_it_was(engine: TorchEngine) -> None:
    transformer = engine.loaded_model("tiny").pipeline.transformer
    plain, before, modules = paint(engine), weights_of(engine), [type(part) for part in transformer.modules()]
    paint(engine, (INK, 1), (WASH, -0.5))
    with pytest.raises(Cancelled):
        engine.make(body(loras=[{"name": INK}]), None, Recorder(cancel_at=2))
    after = weights_of(engine)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert [type(part) for part in transformer.modules()] == modules
    assert not hasattr(transformer, "peft_config")
    assert paint(engine) == plain


def test_an_edit_takes_them_too(engine: TorchEngine) -> None:
    source = gradient((64, 64))
    plain = edit(engine, source)
    styled = engine.make(
        body(model="tiny-edit", variant="e1", prompt="make it red", steps=2, loras=[{"name": INK}]), source, Recorder()
    )
    assert styled.image.tobytes() != plain.tobytes()
    assert edit(engine, source).tobytes() == plain.tobytes()


def test_an_unknown_name_is_refused_with_the_list_before_anything_runs(engine: TorchEngine) -> None:
    recorder = Recorder()
    with pytest.raises(UserError) as refused:
        engine.make(body(loras=[{"name": "nope"}]), Image.new("RGB", (8, 8)), recorder)
    assert refused.value.code is Code.OPTION_NOT_A_CHOICE
    assert refused.value.parameters["choices"] == "Ink, wash.v2"
    assert recorder.steps == []


def damaged_files(folder: Path) -> None:
    zeros = torch.zeros
    save_file({"a.lora_A.weight": zeros(2, 2)}, folder / "of-nothing.safetensors")
    save_file(
        {"transformer.x.lora_A.weight": zeros(2, 2), "transformer.x.lora_B.weight": zeros(2, 2)},
        folder / "of-another-model.safetensors",
    )
    save_file(
        {f"{LAYER}.lora_A.weight": zeros(2, 64), f"{LAYER}.lora_B.weight": zeros(64, 2)},
        folder / "of-another-size.safetensors",
    )
    save_file({f"{LAYER}.lora_A.weight": zeros(2, 160)}, folder / "half.safetensors")
    save_file({"weight": zeros(2)}, folder / "no-lora.safetensors")
    (folder / "junk.safetensors").write_bytes(b"\xff" * 64)
    (folder / "empty.safetensors").write_bytes(b"")


@pytest.mark.parametrize(
    "name", ["of-nothing", "of-another-model", "of-another-size", "half", "no-lora", "junk", "empty"]
)
def test_a_file_that_does_not_fit_fails_that_job_and_no_other(
    engine: TorchEngine, tmp_path: Path, lora_folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    damaged_files(tmp_path)
    (tmp_path / f"{INK}.safetensors").symlink_to(lora_folder / f"{INK}.safetensors")
    plain = paint(engine)
    monkeypatch.setattr(engine, "_loras", LoraFolder(tmp_path))
    for loras in ([(name, 1.0)], [(INK, 1.0), (name, 1.0)]):
        with pytest.raises(OperatorError) as failed:
            paint(engine, *loras)
        assert failed.value.code is Code.LORA_UNUSABLE
        assert failed.value.parameters == {"lora": name, "model": "tiny"}
        assert paint(engine) == plain
