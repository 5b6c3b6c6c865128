"""Which offer a job runs on, and why: a pure choice from facts that ``jobs`` gathers.

It asks nobody and remembers nothing: the same question has the same answer.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import assert_never

from backends.base import HealthState
from config.catalogue import Offer
from domain.errors import Code
from domain.guild import Policy
from domain.job import Failure
from domain.money import MicroUSD
from domain.request import ImageRequest


class Reason(StrEnum):
    """Why the chosen offer was chosen."""

    ONLY_ONE = "only_one"
    """No other offer can take this request."""
    FIRST_IN_ORDER = "first_in_order"
    """It stands first among those that can."""
    FIRST_FREE = "first_free"
    """One that stands before it is busy."""
    OTHERS_DOWN = "others_down"
    """Those that stand before it are down, or are being left alone for a while."""
    CHEAPEST = "cheapest"
    """The server wants the lowest price."""
    FASTEST = "fastest"
    """The server wants the picture soonest."""
    SPILLED_OVER = "spilled_over"
    """Those that cost nothing are busy, and the server lets such jobs cost something."""
    FAILED_OVER = "failed_over"
    """The one that the job was started on before did not take it."""


class Ruling(StrEnum):
    """Why an offer was not chosen."""

    CANNOT = "cannot"
    """It does not take one of the request's options; the failure says which."""
    NOT_HERE = "not_here"
    """Its backend is not configured."""
    NOT_ALLOWED = "not_allowed"
    """The server's admins do not want its backend."""
    TURNED_DOWN = "turned_down"
    """It did not take this job; the failure says why."""
    PRICE_UNKNOWN = "price_unknown"
    """Nobody can tell what it costs, so that no limit of money could hold."""
    NO_MONEY = "no_money"
    """It costs more than this job may."""
    NEEDS_OPERATOR = "needs_operator"
    """Its backend is down until an operator acts; the failure says why."""
    DOWN = "down"
    """Its backend is down; the failure says why."""
    SUSPENDED = "suspended"
    """Its backend failed again and again and rests, or is being tried with one job; the failure says why."""
    COOLING_DOWN = "cooling_down"
    """Its backend could not be reached a moment ago."""
    RATE_LIMITED = "rate_limited"
    """Its backend asked to be left alone for a while: it has enough to do."""
    BUSY = "busy"
    """All its slots are taken."""
    NOT_WHILE_FREE_IS_BUSY = "not_while_free_is_busy"
    """It costs money, and one that costs nothing can be had soon."""
    WORTH_WAITING = "worth_waiting"
    """It could begin now, and waiting for a faster one brings the picture sooner."""
    LATER_IN_ORDER = "later_in_order"
    """It could have been chosen."""
    DEARER = "dearer"
    """It could have been chosen."""
    SLOWER = "slower"
    """It could have been chosen."""


_FOR_GOOD = frozenset(
    {
        Ruling.CANNOT,
        Ruling.NOT_HERE,
        Ruling.NOT_ALLOWED,
        Ruling.TURNED_DOWN,
        Ruling.PRICE_UNKNOWN,
        Ruling.NO_MONEY,
        Ruling.NEEDS_OPERATOR,
    }
)
"""Rulings that waiting does not change."""
LASTING_PROBLEMS = frozenset(
    {
        Code.BACKEND_KEY_REFUSED,
        Code.BACKEND_OUT_OF_CREDIT,
        Code.MODEL_NOT_FOUND,
        Code.MODEL_LOADING_FAILED,
        Code.SETTING_INVALID,
    }
)
"""Problems that do not pass by themselves."""
_AWAY = frozenset({Ruling.DOWN, Ruling.NEEDS_OPERATOR, Ruling.SUSPENDED, Ruling.COOLING_DOWN})
_BUSY = frozenset({Ruling.BUSY, Ruling.RATE_LIMITED})
"""Nothing is wrong there: it has other work."""
_GIVES_WAY = frozenset({Ruling.NOT_WHILE_FREE_IS_BUSY, Ruling.WORTH_WAITING})
"""It could begin now: another one is waited for."""


@dataclass(frozen=True, slots=True)
class BackendFacts:
    """What is known of one backend now."""

    health: HealthState
    slots: int
    """Calls that it can work on at the same time."""
    busy: int = 0
    """Slots that our calls hold."""
    cooling_until: float = 0.0
    """Seconds on the clock of ``now``: no call goes to it before."""
    rate_limited: bool = False
    """While it cools down: it asked for that itself."""
    suspended: bool = False
    """Its breaker lets no call through."""
    suspended_until: float | None = None
    """When one call is let through, where that is known."""
    wait_seconds: float = 0.0
    """Until a slot is free and its model is loaded, as far as can be told."""
    problem: Failure | None = None
    """Why it is down or suspended."""

    @property
    def free(self) -> int:
        """Slots that a call could take."""
        return max(0, self.slots - self.busy)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the admins of the job's server want."""

    policy: Policy = Policy.ORDER
    allowed_backends: frozenset[str] | None = None
    """None: all."""
    spill_to_paid: bool = False
    """A paid offer may be used while a free one is merely busy."""


@dataclass(frozen=True, slots=True)
class RuledOut:
    """An offer that was not chosen, and why."""

    offer: str
    """Key of the offer."""
    ruling: Ruling
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """Run it here."""

    offer: Offer
    reason: Reason
    ruled_out: tuple[RuledOut, ...] = ()


@dataclass(frozen=True, slots=True)
class NoChoice:
    """Not now. ``waiting`` says that it may be possible later; otherwise no offer will ever take it."""

    waiting: bool
    ruled_out: tuple[RuledOut, ...] = ()
    waits_for: Offer | None = None
    """The best of those that it may be possible on."""


@dataclass(frozen=True, slots=True)
class Question:
    """All that the choice depends on."""

    request: ImageRequest
    offers: Sequence[Offer]
    """Those that intake allowed, in the operator's order."""
    backends: Mapping[str, BackendFacts]
    """By the backend's key; one that is missing is not configured."""
    now: float
    """Seconds on any clock, the one of ``BackendFacts.cooling_until``."""
    wishes: Wishes = field(default_factory=Wishes)
    budget: MicroUSD | None = None
    """What the whole job may cost: it was reserved for it. None: as much as it takes."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """By the offer's key: what the whole job should take there once it begins."""
    turned_down: Mapping[str, Failure] = field(default_factory=dict)
    """By the offer's key: those that definitely did not take this job, and why."""
    before: str | None = None
    """Key of the offer that the job was started on last."""


def choose(question: Question) -> Choice | NoChoice:
    """The best offer, by the server's policy, that can take the request, is up and has a free slot.

    A paid one is not used where a free one is merely busy (with the operator's order: one that stands before it),
    unless the server lets jobs spill over; the other two policies then take a free one that is idle first, too.
    """
    rulings = {offer.key: ruling_of(question, offer) for offer in question.offers}
    order = sorted(question.offers, key=lambda offer: _rank(question, offer))
    _keep_money(question, order, rulings)
    chosen = next((offer for offer in order if rulings[offer.key] is None), None)
    if chosen is not None and _is_worth_waiting(question, chosen, order, rulings):
        chosen = None
    for offer in question.offers:
        if offer is not chosen and rulings[offer.key] is None:
            rulings[offer.key] = RuledOut(offer.key, _left(question, chosen))
    ruled_out = tuple(out for out in rulings.values() if out is not None)
    if chosen is None:
        passing = {out.offer for out in ruled_out if out.ruling not in _FOR_GOOD | _GIVES_WAY}
        waits_for = next((offer for offer in order if offer.key in passing), None)
        return NoChoice(waits_for is not None, ruled_out, waits_for)
    return Choice(chosen, _reason(question, order, chosen, ruled_out), ruled_out)


def ruling_of(question: Question, offer: Offer) -> RuledOut | None:
    """Why an offer cannot be had now, whatever other offers there are; None where it can."""
    objections = offer.objections(question.request)
    if objections:
        failure = Failure(objections[0].code, objections[0].parameters)
        return RuledOut(offer.key, Ruling.CANNOT, failure)
    facts = question.backends.get(offer.backend)
    if facts is None:
        return RuledOut(offer.key, Ruling.NOT_HERE)
    allowed = question.wishes.allowed_backends
    if allowed is not None and offer.backend not in allowed:
        failure = Failure(Code.BACKENDS_NOT_ALLOWED, {"model": question.request.model})
        return RuledOut(offer.key, Ruling.NOT_ALLOWED, failure)
    if offer.key in question.turned_down:
        return RuledOut(offer.key, Ruling.TURNED_DOWN, question.turned_down[offer.key])
    if offer.known_price_of(question.request) is None:
        failure = Failure(Code.PRICE_UNKNOWN, {"model": question.request.model, "backend": offer.backend})
        return RuledOut(offer.key, Ruling.PRICE_UNKNOWN, failure)
    if question.budget is not None and _price(question, offer) > question.budget:
        return RuledOut(offer.key, Ruling.NO_MONEY, Failure(Code.PRICE_ROSE, {"backend": offer.backend}))
    ruling = ruling_of_backend(facts, question.now)
    return RuledOut(offer.key, ruling, facts.problem) if ruling is not None else None


def ruling_of_backend(facts: BackendFacts, now: float) -> Ruling | None:
    """Why no call may go to the backend now, whatever it is for; None where one may."""
    if facts.health is HealthState.DOWN:
        lasting = facts.problem is not None and facts.problem.code in LASTING_PROBLEMS
        return Ruling.NEEDS_OPERATOR if lasting else Ruling.DOWN
    if facts.suspended:
        return Ruling.SUSPENDED
    if facts.cooling_until > now:
        return Ruling.RATE_LIMITED if facts.rate_limited else Ruling.COOLING_DOWN
    return Ruling.BUSY if facts.free == 0 else None


def _rank(question: Question, offer: Offer) -> tuple[float, ...]:
    """The lower, the better; the operator's order decides between equals."""
    match question.wishes.policy:
        case Policy.ORDER:
            return ()
        case Policy.CHEAPEST:
            return (_price(question, offer),)
        case Policy.FASTEST:
            return (_done_in(question, offer),)
        case unknown:
            assert_never(unknown)


def _price(question: Question, offer: Offer) -> float:
    """Of the whole job; one that nobody knows is more than any other."""
    price = offer.known_price_of(question.request)
    return math.inf if price is None else price * question.request.count


def _done_in(question: Question, offer: Offer) -> float:
    facts = question.backends.get(offer.backend)
    return (facts.wait_seconds if facts is not None else 0.0) + question.seconds.get(offer.key, offer.seconds)


def _keep_money(question: Question, order: Sequence[Offer], rulings: dict[str, RuledOut | None]) -> None:
    """Rule paid offers out that would be paid for only because a free one has other work."""
    if question.wishes.spill_to_paid:
        return
    by_order = question.wishes.policy is Policy.ORDER

    def is_soon(offer: Offer) -> bool:
        out = rulings[offer.key]
        return not offer.is_paid and (out.ruling in _BUSY if out is not None else not by_order)

    for place, offer in enumerate(order):
        rivals = order[:place] if by_order else order
        if offer.is_paid and rulings[offer.key] is None and any(map(is_soon, rivals)):
            rulings[offer.key] = RuledOut(offer.key, Ruling.NOT_WHILE_FREE_IS_BUSY)


def _is_worth_waiting(
    question: Question, chosen: Offer, order: Sequence[Offer], rulings: Mapping[str, RuledOut | None]
) -> bool:
    """Whether a busy offer brings the picture sooner than the best that could begin now."""
    if question.wishes.policy is not Policy.FASTEST:
        return False
    busy = [offer for offer in order if (out := rulings[offer.key]) is not None and out.ruling is Ruling.BUSY]
    return any(_done_in(question, offer) < _done_in(question, chosen) for offer in busy)


def _left(question: Question, chosen: Offer | None) -> Ruling:
    """Why an offer that can be had is not taken."""
    if chosen is None:
        return Ruling.WORTH_WAITING
    match question.wishes.policy:
        case Policy.ORDER:
            return Ruling.LATER_IN_ORDER
        case Policy.CHEAPEST:
            return Ruling.DEARER
        case Policy.FASTEST:
            return Ruling.SLOWER
        case unknown:
            assert_never(unknown)


def _reason(question: Question, order: Sequence[Offer], chosen: Offer, ruled_out: Sequence[RuledOut]) -> Reason:
    rulings = {out.offer: out.ruling for out in ruled_out}
    if question.before is not None and question.before != chosen.key:
        return Reason.FAILED_OVER
    possible = {key: ruling for key, ruling in rulings.items() if ruling not in _FOR_GOOD - _AWAY}
    if not possible:
        return Reason.ONLY_ONE
    better = order[: order.index(chosen)]
    if chosen.is_paid and any(not offer.is_paid and rulings[offer.key] in _BUSY for offer in better):
        return Reason.SPILLED_OVER
    # What was left out to save money says nothing about those that could have been had.
    money = Ruling.NOT_WHILE_FREE_IS_BUSY
    before = [possible[offer.key] for offer in better if possible.get(offer.key, money) is not money]
    if before:
        return Reason.OTHERS_DOWN if _AWAY.issuperset(before) else Reason.FIRST_FREE
    match question.wishes.policy:
        case Policy.ORDER:
            return Reason.FIRST_IN_ORDER
        case Policy.CHEAPEST:
            return Reason.CHEAPEST
        case Policy.FASTEST:
            return Reason.FASTEST
        case unknown:
            assert_never(unknown)
