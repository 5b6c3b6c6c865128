"""What the GPU benchmark counts and compares is what it says."""

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from backends.worker.acceleration.accelerate import Hardware
from benchmarks.gpu_speed import accuracy, model
from benchmarks.gpu_speed.__main__ import main
from benchmarks.gpu_speed.timing import Deadline, Effort, Task, compare
from benchmarks.gpu_speed.versions import Version, versions_on

CPU = torch.device("cpu")
SHAPE = model.SMALL


@pytest.mark.parametrize(("side", "batch"), [(32, 1), (16, 2)])
def test_the_arithmetic_is_counted_as_torch_counts_it(side: int, batch: int) -> None:
    transformer = model.build(SHAPE, CPU, torch.bfloat16)
    given = model.inputs(SHAPE, side, batch, CPU, torch.bfloat16)
    # torch counts attention where it is written out
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        transformer(**given, timesteps=torch.full((batch,), 500.0))
    assert model.forward_flops(SHAPE, side, batch) == pytest.approx(counter.get_total_flops(), rel=0.01)


def test_a_full_forward_at_1024_is_what_has_been_published() -> None:
    """77.8 TFLOP: 4096 tokens of the picture, 384 of text."""
    assert model.forward_flops(model.FULL, 128, 1) == pytest.approx(77.8e12, rel=0.001)


def test_the_full_configuration_has_the_published_number_of_parameters() -> None:
    transformer = model.build(model.FULL, torch.device("meta"), torch.bfloat16)
    assert sum(parameter.numel() for parameter in transformer.parameters()) == pytest.approx(17.1e9, rel=0.005)


def test_a_twin_has_the_same_weights_and_not_a_copy() -> None:
    transformer = model.build(SHAPE, CPU, torch.bfloat16)
    other = model.twin(SHAPE, transformer)
    for one, same in zip(transformer.parameters(), other.parameters(), strict=True):
        assert one.data_ptr() == same.data_ptr()


def test_skewed_routers_leave_two_experts_without_a_token() -> None:
    transformer = model.build(SHAPE, CPU, torch.bfloat16)
    model.skew(transformer)
    router = transformer.single_stream_blocks[0].block.ff_i.gate
    chosen, _, _ = router(torch.randn(1, 50, SHAPE.width).bfloat16())
    assert len(chosen.unique()) == SHAPE.active


def test_the_grouped_version_is_as_near_to_float32_as_stock() -> None:
    found = accuracy.errors(SHAPE, CPU)
    assert found["grouped"] < 1.05 * found["stock diffusers"]
    assert found["stock diffusers"] < found["fp8"] < 1.5 * found["stock diffusers"]


def test_with_a_compiler_what_is_compiled_is_timed_as_it_is_written_too() -> None:
    stock = model.build(SHAPE, CPU, torch.bfloat16)
    found = versions_on(Hardware(is_gpu=False, has_compiler=True), SHAPE, stock, None, steps=8)
    assert [version.name for version in found.all] == [
        "stock diffusers",
        "grouped",
        "grouped, compiled",
        "fp8, compiled",
        "fp8, compiled, balanced mask",
    ]
    given = model.inputs(SHAPE, 8, 1, CPU, torch.bfloat16) | {"timesteps": torch.full((1,), 500.0)}
    with torch.no_grad(), found.all[1].around():
        written = found.all[1].predict(**given)
        assert (written - found.all[0].predict(**given)).norm() < 0.05 * written.norm()


class TestDeadline:
    def versions(self, done: list[str]) -> list[Version]:
        def version(name: str) -> Version:
            def predict(hidden_states: Tensor, **_: object) -> Tensor:
                done.append(name)
                return hidden_states

            return Version(name, predict)

        return [version("stock"), version("ours")]

    def task(self) -> Task:
        return Task("a task", {"hidden_states": torch.zeros(1, 4, 2, 2)}, 1.0)

    def effort(self, looks: int) -> Effort:
        """The deadline has passed when the clock is looked at so many times."""
        clock: Iterator[int] = count()
        return Effort(rounds=3, steps=2, rate=1.0, deadline=Deadline(looks, lambda: next(clock)))

    def test_with_time_enough_all_rounds_are_timed(self) -> None:
        done: list[str] = []
        rows = compare(self.versions(done), self.task(), self.effort(100))
        assert [row.version for row in rows] == ["stock", "ours"]
        assert done.count("stock") == done.count("ours") == 4 + 3 * 2

    def test_a_round_that_has_begun_is_ended_and_the_rest_left_out(self, capsys: pytest.CaptureFixture[str]) -> None:
        done: list[str] = []
        rows = compare(self.versions(done), self.task(), self.effort(3))
        assert [row.version for row in rows] == ["stock", "ours"]
        assert done.count("stock") == done.count("ours") == 4 + 2
        assert "no time left for more than 1 rounds at a task" in capsys.readouterr().out

    def test_what_has_not_begun_by_then_is_left_out(self, capsys: pytest.CaptureFixture[str]) -> None:
        done: list[str] = []
        assert compare(self.versions(done), self.task(), self.effort(0)) == []
        assert done == []
        assert "no time left for ours at a task" in capsys.readouterr().out


def test_the_command_ends_with_the_short_table_and_keeps_everything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--small", "--rounds", "1", "--steps", "2", "--out", str(tmp_path / "new" / "speed.json")])
    told = capsys.readouterr().out
    assert "say nothing about a GPU" in told
    kept = json.loads((tmp_path / "new" / "speed.json").read_text("utf-8"))
    assert len(kept["rows"]) >= 13
    assert "least–most" in (tmp_path / "new" / "speed.txt").read_text("utf-8")
    short = told[told.index("Denoising, 2 steps") :]
    assert short.count("stock diffusers") == 4
    assert "least–most" not in short
