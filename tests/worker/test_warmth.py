"""Which replica of a cluster gets a job, and what replicas that answer as one say. No Ray in here."""

import pytest

from backends.worker.protocol import ErrorEvent, FiguresBody, HealthBody, LookupsBody, ModelBody
from backends.worker.reports import FRESH_SECONDS, Reports
from backends.worker.variants import VARIANTS, LocalModel
from backends.worker.warmth import PROMPTS_REMEMBERED, Memory, Wanted
from domain.errors import Code

FOX, OWL = Wanted.of("tiny", "a fox"), Wanted.of("tiny", "an owl")
EDIT = Wanted.of("tiny-edit", "make it blue")
MODEL = LocalModel("tiny", VARIANTS["dev"], "tiny")


def test_what_a_job_wants_survives_the_header_and_says_nothing_of_the_prompt() -> None:
    assert Wanted.parse(str(FOX)) == FOX
    assert "fox" not in str(FOX)
    assert str(FOX).isascii()


@pytest.mark.parametrize("header", ["", "x", "none-of-ours "])
def test_another_header_wants_nothing(header: str) -> None:
    assert Wanted.parse(header) is None


class TestChoice:
    """``a``, ``b`` and ``c`` are replicas."""

    def test_the_prompt_goes_before_the_model(self) -> None:
        memory = Memory()
        memory.note("a", FOX)
        memory.note("a", EDIT)
        memory.note("b", OWL)
        assert memory.choice("abc", "abc", FOX, True)[0] == ["a"]
        assert memory.choice("abc", "abc", Wanted.of("tiny", "a hare"), True)[0] == ["b"]

    def test_a_model_that_is_warm_nowhere_displaces_none_while_a_replica_has_nothing_to_lose(self) -> None:
        memory = Memory()
        memory.note("a", FOX)
        assert memory.choice("ab", "ab", EDIT, True)[0] == ["b"]

    def test_else_it_displaces_what_was_idle_for_longest(self) -> None:
        memory = Memory()
        for replica, wanted in (("a", FOX), ("b", OWL), ("a", OWL)):
            memory.note(replica, wanted)
        assert memory.choice("ab", "ab", EDIT, True)[0] == ["b"]

    def test_a_job_asks_its_busy_warm_replica_first_and_any_free_one_once_it_has_waited(self) -> None:
        memory = Memory()
        memory.note("a", FOX)
        assert memory.choice("abc", "bc", FOX, True) == [["a"]]
        assert memory.choice("abc", "bc", FOX, False) == [["b"], ["c"], ["a"]]

    def test_a_free_replica_with_the_model_is_not_passed_over_for_a_busy_one_with_the_prompt(self) -> None:
        memory = Memory()
        memory.note("a", FOX)
        memory.note("b", OWL)
        assert memory.choice("ab", "b", FOX, True) == [["b"], ["a"]]

    def test_a_prompt_that_has_left_the_cache_is_forgotten(self) -> None:
        memory = Memory()
        memory.note("a", FOX)
        for number in range(PROMPTS_REMEMBERED):
            memory.note("a", Wanted.of("tiny", str(number)))
        memory.note("b", OWL)
        memory.note("c", FOX)
        assert memory.choice("abc", "abc", FOX, True)[0] == ["c"]

    def test_a_replica_that_is_gone_is_forgotten(self) -> None:
        memory = Memory()
        memory.note("a", FOX)
        memory.keep("b")
        assert memory.choice("ab", "b", FOX, True) == [["b"], ["a"]]


def report(*, used: int = 1, loaded: bool = True, loras: tuple[str, ...] = (), busy: int = 0) -> HealthBody:
    problem = ErrorEvent(at_fault="operator", code=Code.MODEL_NOT_FOUND, parameters={"model": "tiny"})
    return HealthBody(
        state="ready" if loaded else "failed",
        version="9",
        busy=busy,
        device="H200",
        problem=None if loaded else problem,
        figures=FiguresBody(
            memory_used_bytes=used, memory_total_bytes=8, caches={"model": LookupsBody(hits=1, misses=1)}
        ),
        models=(ModelBody(key="tiny", kind="imagine", variant="dev", loaded=loaded),),
        loras=loras,
    )


class TestReports:
    def test_replicas_that_run_are_the_slots_and_each_tells_its_figures(self) -> None:
        reports = Reports([MODEL])
        reports.note(0, report(used=3, busy=1), 10.0)
        reports.note(1, report(used=4), 10.0)
        together = reports.together({"RUNNING": 2, "STARTING": 1}, 11.0)
        assert (together.state, together.slots, together.busy) == ("ready", 2, 1)
        assert {number: figures.memory_used_bytes for number, figures in together.replicas.items()} == {"0": 3, "1": 4}
        assert together.device == "Ray, 2 running, 1 starting (H200)"

    def test_before_the_first_report_a_replica_that_runs_has_its_models(self) -> None:
        together = Reports([MODEL]).together({"RUNNING": 1}, 0.0)
        assert together.state == "ready"
        assert [model.loaded for model in together.models] == [True]

    @pytest.mark.parametrize(
        ("states", "state"), [({"STARTING": 1}, "loading"), ({}, "failed"), ({"STOPPING": 1}, "failed")]
    )
    def test_none_that_runs(self, states: dict[str, int], state: str) -> None:
        together = Reports([MODEL]).together(states, 0.0)
        assert (together.state, together.slots) == (state, 0)

    def test_a_replica_that_is_silent_for_long_is_left_out(self) -> None:
        reports = Reports([MODEL])
        reports.note(0, report(), 0.0)
        reports.note(1, report(), FRESH_SECONDS)
        assert set(reports.together({"RUNNING": 1}, FRESH_SECONDS + 1).replicas) == {"1"}

    def test_replicas_without_any_model_say_why(self) -> None:
        reports = Reports([MODEL])
        reports.note(0, report(loaded=False), 0.0)
        together = reports.together({"RUNNING": 1}, 1.0)
        assert together.state == "failed"
        assert together.problem is not None
        assert together.problem.code is Code.MODEL_NOT_FOUND

    def test_only_loras_that_every_replica_has_are_offered(self) -> None:
        reports = Reports([MODEL])
        reports.note(0, report(loras=("Ink", "wash")), 0.0)
        reports.note(1, report(loras=("wash",)), 0.0)
        assert reports.together({"RUNNING": 2}, 1.0).loras == ("wash",)
