"""Which offer a job runs on, and why."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base import HealthState
from backends.selector import BackendFacts, Choice, NoChoice, Question, Reason, Ruling, choose
from config.catalogue import Offer
from domain.errors import Code
from domain.job import Failure
from domain.request import ImageRequest, Kind

PROMPT = {"type": "text", "field": "prompt"}
STEPS = {"type": "integer", "field": "steps", "minimum": 1, "maximum": 50}
UP = BackendFacts(HealthState.UP, slots=1)
BUSY = replace(UP, busy=1)
DOWN = replace(UP, health=HealthState.DOWN, problem=Failure(Code.BACKEND_UNREACHABLE, {"backend": "x"}))
COOLING = replace(UP, cooling_until=100.0)


def make_offer(backend: str, price: str = "0", steps: bool = True) -> Offer:
    return Offer.model_validate(
        {
            "backend": backend,
            "target": "x",
            "price": price,
            "seconds": 1,
            "parameters": {"prompt": PROMPT} | ({"steps": STEPS} if steps else {}),
            "model_key": "model",
        }
    )


def ask(
    offers: list[Offer], spill_to_paid: bool = False, steps: int | None = None, **backends: BackendFacts
) -> Choice | NoChoice:
    request = ImageRequest(kind=Kind.IMAGINE, model="model", prompt="p", steps=steps)
    return choose(Question(request, offers, backends, now=50.0, spill_to_paid=spill_to_paid))


def outcome(answer: Choice | NoChoice) -> tuple[str, str] | None:
    return (answer.offer.backend, answer.reason.value) if isinstance(answer, Choice) else None


A, B, C = make_offer("a"), make_offer("b"), make_offer("c")
PAID = make_offer("paid", "0.01")


def test_the_only_one() -> None:
    assert outcome(ask([A], a=UP)) == ("a", Reason.ONLY_ONE)
    assert outcome(ask([A, make_offer("b", steps=False)], a=UP, b=UP, steps=5)) == ("a", Reason.ONLY_ONE)


def test_the_first_in_order() -> None:
    assert outcome(ask([A, B], a=UP, b=UP)) == ("a", Reason.FIRST_IN_ORDER)
    assert outcome(ask([B, A], a=UP, b=UP)) == ("b", Reason.FIRST_IN_ORDER)


def test_the_first_that_is_free() -> None:
    assert outcome(ask([A, B], a=BUSY, b=UP)) == ("b", Reason.FIRST_FREE)
    assert outcome(ask([A, B, C], a=BUSY, b=DOWN, c=UP)) == ("c", Reason.FIRST_FREE)


def test_the_others_are_down() -> None:
    assert outcome(ask([A, B, C], a=DOWN, b=COOLING, c=UP)) == ("c", Reason.OTHERS_DOWN)


def test_a_backend_that_loads_takes_calls() -> None:
    loading = replace(UP, health=HealthState.LOADING)
    assert outcome(ask([A, B], a=loading, b=UP)) == ("a", Reason.FIRST_IN_ORDER)


def test_cooling_down_ends() -> None:
    assert outcome(ask([A], a=replace(UP, cooling_until=50.0))) == ("a", Reason.ONLY_ONE)


def test_money_is_not_spent_because_the_free_one_is_busy() -> None:
    answer = ask([A, PAID], a=BUSY, paid=UP)
    assert isinstance(answer, NoChoice)
    assert answer.waiting
    assert [out.ruling for out in answer.ruled_out] == [Ruling.BUSY, Ruling.NOT_WHILE_FREE_IS_BUSY]


def test_unless_that_is_wanted() -> None:
    assert outcome(ask([A, PAID], spill_to_paid=True, a=BUSY, paid=UP)) == ("paid", Reason.FIRST_FREE)


def test_a_paid_one_that_stands_first_is_used() -> None:
    assert outcome(ask([PAID, A], a=BUSY, paid=UP)) == ("paid", Reason.FIRST_IN_ORDER)


def test_a_paid_one_stands_in_for_a_free_one_that_is_down() -> None:
    assert outcome(ask([A, PAID], a=DOWN, paid=UP)) == ("paid", Reason.OTHERS_DOWN)


def test_a_busy_free_one_does_not_keep_another_free_one_from_work() -> None:
    assert outcome(ask([A, PAID, B], a=BUSY, paid=UP, b=UP)) == ("b", Reason.FIRST_FREE)


def test_no_money() -> None:
    answer = ask([PAID], paid=replace(UP, may_spend=False))
    assert answer == NoChoice(False, answer.ruled_out)
    assert [out.ruling for out in answer.ruled_out] == [Ruling.NO_MONEY]


def test_what_waiting_cannot_change_is_told_apart() -> None:
    cannot = make_offer("b", steps=False)
    answer = ask([cannot, C], b=UP, steps=5)
    assert isinstance(answer, NoChoice)
    assert not answer.waiting
    assert [out.ruling for out in answer.ruled_out] == [Ruling.CANNOT, Ruling.NOT_HERE]
    assert answer.ruled_out[0].failure == Failure(Code.NO_OFFER, {"option": "steps", "model": "model"})
    later = ask([cannot, A], a=DOWN, b=UP, steps=5)
    assert isinstance(later, NoChoice)
    assert later.waiting
    assert later.ruled_out[1].failure == DOWN.problem


@pytest.mark.parametrize("code", [Code.BACKEND_KEY_REFUSED, Code.BACKEND_OUT_OF_CREDIT, Code.MODEL_NOT_FOUND])
def test_nobody_waits_for_what_only_an_operator_can_mend(code: Code) -> None:
    problem = Failure(code, {"backend": "a"})
    refused = replace(DOWN, problem=problem)
    answer = ask([A], a=refused)
    assert answer == NoChoice(False, answer.ruled_out)
    assert [(out.ruling, out.failure) for out in answer.ruled_out] == [(Ruling.NEEDS_OPERATOR, problem)]
    assert outcome(ask([A, B], a=refused, b=UP)) == ("b", Reason.OTHERS_DOWN)
    waiting = ask([A, B], a=refused, b=DOWN)
    assert isinstance(waiting, NoChoice)
    assert waiting.waiting


def test_nothing_to_choose_from() -> None:
    assert ask([]) == NoChoice(False, ())


FACTS = st.builds(
    BackendFacts,
    health=st.sampled_from(HealthState),
    slots=st.integers(0, 3),
    busy=st.integers(0, 4),
    waiting=st.integers(0, 100),
    cooling_until=st.sampled_from([0.0, 50.0, 60.0]),
    may_spend=st.booleans(),
)
NAMES = ("a", "b", "c", "d", "e")


@st.composite
def questions(draw: st.DrawFn) -> Question:
    names = draw(st.lists(st.sampled_from(NAMES), unique=True))
    offers = [make_offer(name, draw(st.sampled_from(["0", "0.01"])), draw(st.booleans())) for name in names]
    backends = draw(st.dictionaries(st.sampled_from(NAMES), FACTS))
    options: dict[str, Any] = {"steps": draw(st.sampled_from([None, 5, 99]))}
    request = ImageRequest(kind=Kind.IMAGINE, model="model", prompt="p", **options)
    return Question(request, offers, backends, now=50.0, spill_to_paid=draw(st.booleans()))


@given(questions())
def test_the_choice_is_always_capable_up_and_free(question: Question) -> None:
    answer = choose(question)
    assert choose(question) == answer
    if isinstance(answer, Choice):
        facts = question.backends[answer.offer.backend]
        assert answer.offer in question.offers
        assert answer.offer.objections(question.request) == []
        assert facts.health is not HealthState.DOWN
        assert facts.busy < facts.slots
        assert facts.cooling_until <= question.now
        assert facts.may_spend or not answer.offer.is_paid


@given(questions())
def test_every_offer_that_was_not_chosen_is_ruled_out_once(question: Question) -> None:
    answer = choose(question)
    out = [ruled.offer for ruled in answer.ruled_out]
    chosen = [answer.offer.key] if isinstance(answer, Choice) else []
    assert sorted(out + chosen) == sorted(offer.key for offer in question.offers)


@given(questions(), st.data())
def test_an_offer_that_was_ruled_out_could_as_well_be_missing(question: Question, data: st.DataObject) -> None:
    """All but a busy one: somebody may be waiting for it."""
    answer = choose(question)
    removable = [out.offer for out in answer.ruled_out if out.ruling is not Ruling.BUSY]
    gone = set(data.draw(st.lists(st.sampled_from(removable)))) if removable else set()
    fewer = replace(question, offers=[offer for offer in question.offers if offer.key not in gone])
    after = choose(fewer)
    if isinstance(answer, Choice):
        assert isinstance(after, Choice)
        assert after.offer == answer.offer
    else:
        assert isinstance(after, NoChoice)


@given(questions())
def test_no_money_flows_because_a_free_one_is_merely_busy(question: Question) -> None:
    answer = choose(replace(question, spill_to_paid=False))
    if isinstance(answer, Choice) and answer.offer.is_paid:
        busy = {out.offer for out in answer.ruled_out if out.ruling is Ruling.BUSY}
        before = question.offers[: list(question.offers).index(answer.offer)]
        assert all(offer.is_paid for offer in before if offer.key in busy)


@given(questions())
def test_waiting_is_only_hopeless_where_nothing_can_change(question: Question) -> None:
    answer = choose(question)
    if isinstance(answer, NoChoice):
        idle = {name: BackendFacts(HealthState.UP, slots=1) for name in question.backends}
        spend = {name: replace(facts, may_spend=question.backends[name].may_spend) for name, facts in idle.items()}
        assert isinstance(choose(replace(question, backends=spend)), Choice) is answer.waiting
