"""Which offer a job runs on, and why."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base import HealthState
from backends.selector import BackendFacts, Choice, NoChoice, Question, Reason, Ruling, Wishes, choose
from config.catalogue import Offer
from domain.errors import Code
from domain.guild import Policy
from domain.job import Failure
from domain.money import MicroUSD
from domain.request import ImageRequest, Kind

PROMPT = {"type": "text", "field": "prompt"}
STEPS = {"type": "integer", "field": "steps", "minimum": 1, "maximum": 50}
UP = BackendFacts(HealthState.UP, slots=1)
BUSY = replace(UP, busy=1)
DOWN = replace(UP, health=HealthState.DOWN, problem=Failure(Code.BACKEND_UNREACHABLE, {"backend": "x"}))
COOLING = replace(UP, cooling_until=100.0)
LIMITED = replace(COOLING, rate_limited=True)
SUSPENDED = replace(UP, suspended=True, suspended_until=90.0, problem=DOWN.problem)


SPILL = Wishes(spill_to_paid=True)
CHEAPEST = Wishes(Policy.CHEAPEST)
FASTEST = Wishes(Policy.FASTEST)


def make_offer(backend: str, price: str | None = "0", steps: bool = True) -> Offer:
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
    offers: list[Offer],
    *,
    wishes: Wishes | None = None,
    steps: int | None = None,
    count: int = 1,
    seconds: dict[str, float] | None = None,
    budget: int | None = None,
    turned_down: dict[str, Failure] | None = None,
    before: str | None = None,
    **backends: BackendFacts,
) -> Choice | NoChoice:
    request = ImageRequest(kind=Kind.IMAGINE, model="model", prompt="p", steps=steps, count=count)
    question = Question(
        request,
        offers,
        backends,
        now=50.0,
        wishes=wishes or Wishes(),
        budget=MicroUSD(budget) if budget is not None else None,
        seconds={f"{name}:model": value for name, value in (seconds or {}).items()},
        turned_down=turned_down or {},
        before=before,
    )
    return choose(question)


def rulings(answer: Choice | NoChoice) -> dict[str, Ruling]:
    return {out.offer.partition(":")[0]: out.ruling for out in answer.ruled_out}


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
    assert outcome(ask([A, PAID], wishes=SPILL, a=BUSY, paid=UP)) == ("paid", Reason.SPILLED_OVER)
    assert outcome(ask([A, PAID], wishes=SPILL, a=LIMITED, paid=UP)) == ("paid", Reason.SPILLED_OVER)
    assert outcome(ask([A, PAID], wishes=SPILL, a=UP, paid=UP)) == ("a", Reason.FIRST_IN_ORDER)


def test_a_paid_one_that_stands_first_is_used() -> None:
    assert outcome(ask([PAID, A], a=BUSY, paid=UP)) == ("paid", Reason.FIRST_IN_ORDER)


@pytest.mark.parametrize("away", [DOWN, COOLING, SUSPENDED])
def test_a_paid_one_stands_in_for_a_free_one_that_is_down(away: BackendFacts) -> None:
    assert outcome(ask([A, PAID], a=away, paid=UP)) == ("paid", Reason.OTHERS_DOWN)


def test_one_that_asked_to_be_left_alone_has_other_work_and_is_not_down() -> None:
    answer = ask([A, PAID], a=LIMITED, paid=UP)
    assert rulings(answer) == {"a": Ruling.RATE_LIMITED, "paid": Ruling.NOT_WHILE_FREE_IS_BUSY}
    assert outcome(ask([A, B], a=LIMITED, b=UP)) == ("b", Reason.FIRST_FREE)


def test_one_that_rests_after_faults_is_waited_for_where_nothing_else_is_left() -> None:
    answer = ask([A], a=SUSPENDED)
    assert isinstance(answer, NoChoice)
    assert answer.waiting
    assert (answer.ruled_out[0].ruling, answer.ruled_out[0].failure) == (Ruling.SUSPENDED, DOWN.problem)


def test_a_busy_free_one_does_not_keep_another_free_one_from_work() -> None:
    assert outcome(ask([A, PAID, B], a=BUSY, paid=UP, b=UP)) == ("b", Reason.FIRST_FREE)


def test_no_money() -> None:
    answer = ask([PAID], budget=9_999, paid=UP)
    assert isinstance(answer, NoChoice)
    assert not answer.waiting
    assert rulings(answer) == {"paid": Ruling.NO_MONEY}
    assert outcome(ask([PAID], budget=10_000, paid=UP)) == ("paid", Reason.ONLY_ONE)
    assert outcome(ask([PAID], budget=20_000, count=3, paid=UP)) is None
    assert outcome(ask([PAID, A], budget=0, paid=UP, a=UP)) == ("a", Reason.ONLY_ONE)


def test_what_nobody_knows_the_price_of_is_not_used() -> None:
    unknown = make_offer("x", None)
    assert rulings(ask([unknown], x=UP)) == {"x": Ruling.PRICE_UNKNOWN}
    assert outcome(ask([unknown, PAID], wishes=CHEAPEST, x=UP, paid=UP)) == ("paid", Reason.ONLY_ONE)


# What a server's admins want.


def test_only_the_backends_that_the_server_allows() -> None:
    only_b = Wishes(allowed_backends=frozenset({"b"}))
    assert outcome(ask([A, B], wishes=only_b, a=UP, b=UP)) == ("b", Reason.ONLY_ONE)
    answer = ask([A], wishes=only_b, a=UP, b=UP)
    assert isinstance(answer, NoChoice)
    assert not answer.waiting
    assert rulings(answer) == {"a": Ruling.NOT_ALLOWED}


CHEAP = make_offer("cheap", "0.005")


def test_the_cheapest() -> None:
    answer = ask([PAID, CHEAP], wishes=CHEAPEST, paid=UP, cheap=UP)
    assert (outcome(answer), rulings(answer)) == (("cheap", Reason.CHEAPEST), {"paid": Ruling.DEARER})
    assert outcome(ask([PAID, CHEAP, A], wishes=CHEAPEST, paid=UP, cheap=UP, a=UP)) == ("a", Reason.CHEAPEST)
    assert outcome(ask([B, A], wishes=CHEAPEST, b=UP, a=UP)) == ("b", Reason.CHEAPEST), "the order decides"
    assert outcome(ask([PAID, CHEAP], wishes=CHEAPEST, paid=UP, cheap=BUSY)) == ("paid", Reason.FIRST_FREE)
    assert outcome(ask([PAID, CHEAP], wishes=CHEAPEST, paid=UP, cheap=DOWN)) == ("paid", Reason.OTHERS_DOWN)


@pytest.mark.parametrize("wishes", [CHEAPEST, FASTEST])
def test_a_busy_free_one_is_waited_for_wherever_it_stands(wishes: Wishes) -> None:
    slow = replace(BUSY, wait_seconds=1000.0)
    assert outcome(ask([PAID, A], wishes=wishes, paid=UP, a=slow)) is None
    spilling = replace(wishes, spill_to_paid=True)
    assert outcome(ask([PAID, A], wishes=spilling, paid=UP, a=slow)) is not None


def test_the_fastest() -> None:
    seconds = {"a": 30.0, "b": 8.0}
    answer = ask([A, B], wishes=FASTEST, seconds=seconds, a=UP, b=UP)
    assert (outcome(answer), rulings(answer)) == (("b", Reason.FASTEST), {"a": Ruling.SLOWER})
    loading = replace(UP, health=HealthState.LOADING, wait_seconds=60.0)
    assert outcome(ask([A, B], wishes=FASTEST, seconds=seconds, a=UP, b=loading)) == ("a", Reason.FASTEST)
    assert outcome(ask([A, B], wishes=FASTEST, seconds=seconds, a=UP, b=DOWN)) == ("a", Reason.OTHERS_DOWN)


def test_the_fastest_is_waited_for_while_that_is_worth_it() -> None:
    seconds = {"a": 30.0, "b": 8.0}
    soon, late = replace(BUSY, wait_seconds=20.0), replace(BUSY, wait_seconds=23.0)
    answer = ask([A, B], wishes=FASTEST, seconds=seconds, a=UP, b=soon)
    assert isinstance(answer, NoChoice)
    assert answer.waiting
    assert rulings(answer) == {"a": Ruling.WORTH_WAITING, "b": Ruling.BUSY}
    assert outcome(ask([A, B], wishes=FASTEST, seconds=seconds, a=UP, b=late)) == ("a", Reason.FASTEST)


def test_a_free_one_comes_before_a_faster_paid_one_unless_jobs_may_spill_over() -> None:
    seconds = {"a": 30.0, "paid": 5.0}
    answer = ask([PAID, A], wishes=FASTEST, seconds=seconds, paid=UP, a=UP)
    assert (outcome(answer), rulings(answer)) == (
        ("a", Reason.FASTEST),
        {"paid": Ruling.NOT_WHILE_FREE_IS_BUSY},
    )
    spilling = replace(FASTEST, spill_to_paid=True)
    assert outcome(ask([PAID, A], wishes=spilling, seconds=seconds, paid=UP, a=UP)) == ("paid", Reason.FASTEST)


# Failover.


def test_what_turned_the_job_down_is_not_asked_again() -> None:
    failure = Failure(Code.BACKEND_REFUSED, {"backend": "a"})
    answer = ask([A, B], turned_down={"a:model": failure}, before="a:model", a=UP, b=UP)
    assert outcome(answer) == ("b", Reason.FAILED_OVER)
    assert [(out.ruling, out.failure) for out in answer.ruled_out] == [(Ruling.TURNED_DOWN, failure)]
    answer = ask([A], turned_down={"a:model": failure}, before="a:model", a=UP)
    assert isinstance(answer, NoChoice)
    assert not answer.waiting


def test_the_same_one_again_is_no_failover() -> None:
    assert outcome(ask([A, B], before="a:model", a=UP, b=UP)) == ("a", Reason.FIRST_IN_ORDER)


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
    assert isinstance(answer, NoChoice)
    assert not answer.waiting
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
    cooling_until=st.sampled_from([0.0, 50.0, 60.0]),
    rate_limited=st.booleans(),
    suspended=st.booleans(),
    wait_seconds=st.sampled_from([0.0, 5.0, 100.0]),
)
NAMES = ("a", "b", "c", "d", "e")
WISHES = st.builds(
    Wishes,
    policy=st.sampled_from(Policy),
    allowed_backends=st.none() | st.frozensets(st.sampled_from(NAMES)),
    spill_to_paid=st.booleans(),
)
MERELY_BUSY = (Ruling.BUSY, Ruling.RATE_LIMITED)


@st.composite
def questions(draw: st.DrawFn) -> Question:
    names = draw(st.lists(st.sampled_from(NAMES), unique=True))
    prices = st.sampled_from(["0", "0.01", "0.02", None])
    offers = [make_offer(name, draw(prices), draw(st.booleans())) for name in names]
    options: dict[str, Any] = {"steps": draw(st.sampled_from([None, 5, 99])), "count": draw(st.integers(1, 4))}
    turned_down = draw(st.sets(st.sampled_from(NAMES), max_size=1))
    return Question(
        ImageRequest(kind=Kind.IMAGINE, model="model", prompt="p", **options),
        offers,
        draw(st.dictionaries(st.sampled_from(NAMES), FACTS)),
        now=50.0,
        wishes=draw(WISHES),
        budget=draw(st.sampled_from([None, MicroUSD(0), MicroUSD(20_000)])),
        seconds={f"{name}:model": draw(st.sampled_from([1.0, 10.0, 50.0])) for name in names},
        turned_down={f"{name}:model": Failure(Code.BACKEND_REFUSED, {}) for name in turned_down},
        before=draw(st.sampled_from([None, "a:model", "gone:model"])),
    )


@given(questions())
def test_the_choice_is_always_capable_allowed_affordable_up_and_free(question: Question) -> None:
    answer = choose(question)
    assert choose(question) == answer
    if isinstance(answer, Choice):
        offer = answer.offer
        facts = question.backends[offer.backend]
        assert offer in question.offers
        assert offer.objections(question.request) == []
        assert facts.health is not HealthState.DOWN
        assert facts.busy < facts.slots
        assert facts.cooling_until <= question.now
        assert not facts.suspended
        assert offer.key not in question.turned_down
        allowed = question.wishes.allowed_backends
        assert allowed is None or offer.backend in allowed
        price = offer.price_of(question.request) * question.request.count
        assert question.budget is None or price <= question.budget


@given(questions())
def test_every_offer_that_was_not_chosen_is_ruled_out_once(question: Question) -> None:
    answer = choose(question)
    out = [ruled.offer for ruled in answer.ruled_out]
    chosen = [answer.offer.key] if isinstance(answer, Choice) else []
    assert sorted(out + chosen) == sorted(offer.key for offer in question.offers)


@given(questions(), st.data())
def test_an_offer_that_was_ruled_out_could_as_well_be_missing(question: Question, data: st.DataObject) -> None:
    """All but those that somebody waits for, and those that are kept waiting for them."""
    answer = choose(question)
    kept = (*MERELY_BUSY, Ruling.WORTH_WAITING)
    removable = [out.offer for out in answer.ruled_out if out.ruling not in kept]
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
    question = replace(question, wishes=replace(question.wishes, spill_to_paid=False))
    answer = choose(question)
    if isinstance(answer, Choice) and answer.offer.is_paid:
        busy = {out.offer for out in answer.ruled_out if out.ruling in MERELY_BUSY}
        rivals: Sequence[Offer] = question.offers
        if question.wishes.policy is Policy.ORDER:
            rivals = rivals[: list(rivals).index(answer.offer)]
        assert all(offer.is_paid for offer in rivals if offer.key in busy)


@given(questions())
def test_waiting_is_only_hopeless_where_nothing_can_change(question: Question) -> None:
    answer = choose(question)
    if isinstance(answer, NoChoice):
        idle = {name: BackendFacts(HealthState.UP, slots=1) for name in question.backends}
        assert isinstance(choose(replace(question, backends=idle)), Choice) is answer.waiting


@given(questions())
def test_the_cheapest_of_those_that_can_be_had(question: Question) -> None:
    question = replace(question, wishes=replace(question.wishes, policy=Policy.CHEAPEST))
    answer = choose(question)
    if isinstance(answer, Choice):
        dearer = [out.offer for out in answer.ruled_out if out.ruling is Ruling.DEARER]
        prices = {offer.key: offer.price_of(question.request) for offer in question.offers if offer.key in dearer}
        assert all(price >= answer.offer.price_of(question.request) for price in prices.values())


@given(questions())
def test_nothing_that_could_begin_now_is_done_sooner_than_the_fastest(question: Question) -> None:
    wishes = replace(question.wishes, policy=Policy.FASTEST, spill_to_paid=True)
    question = replace(question, wishes=wishes)
    answer = choose(question)
    if isinstance(answer, Choice):

        def done_in(key: str) -> float:
            return question.backends[key.partition(":")[0]].wait_seconds + question.seconds[key]

        others = [out.offer for out in answer.ruled_out if out.ruling in (Ruling.SLOWER, Ruling.BUSY)]
        assert all(done_in(other) >= done_in(answer.offer.key) for other in others)
