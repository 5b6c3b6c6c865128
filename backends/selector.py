"""Which offer a job runs on, and why: a pure choice from facts that ``jobs`` gathers.

It asks nobody and remembers nothing: the same question has the same answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from backends.base import HealthState
from config.catalogue import Offer
from domain.errors import Code
from domain.job import Failure
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


class Ruling(StrEnum):
    """Why an offer was not chosen."""

    CANNOT = "cannot"
    """It does not take one of the request's options; the failure says which."""
    NOT_HERE = "not_here"
    """Its backend is not configured."""
    NO_MONEY = "no_money"
    """It costs money, and none may be spent."""
    NEEDS_OPERATOR = "needs_operator"
    """Its backend is down until an operator acts; the failure says why."""
    DOWN = "down"
    """Its backend is down; the failure says why."""
    COOLING_DOWN = "cooling_down"
    """Its backend asked to be left alone for a while."""
    BUSY = "busy"
    """All its slots are taken."""
    NOT_WHILE_FREE_IS_BUSY = "not_while_free_is_busy"
    """It costs money, and one that costs nothing is merely busy."""
    LATER_IN_ORDER = "later_in_order"
    """It could have been chosen."""


_FOR_GOOD = frozenset({Ruling.CANNOT, Ruling.NOT_HERE, Ruling.NO_MONEY, Ruling.NEEDS_OPERATOR})
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
_AWAY = frozenset({Ruling.DOWN, Ruling.NEEDS_OPERATOR, Ruling.COOLING_DOWN})


@dataclass(frozen=True, slots=True)
class BackendFacts:
    """What is known of one backend now."""

    health: HealthState
    slots: int
    """Calls that it can work on at the same time."""
    busy: int = 0
    """Slots that our calls hold."""
    waiting: int = 0
    """Jobs that wait for it."""
    cooling_until: float = 0.0
    """Seconds on the clock of ``now``: no call goes to it before."""
    may_spend: bool = True
    """Whether this job may spend money there."""
    problem: Failure | None = None
    """Why it is down."""

    @property
    def free(self) -> int:
        """Slots that a call could take."""
        return max(0, self.slots - self.busy)


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


@dataclass(frozen=True, slots=True)
class Question:
    """All that the choice depends on."""

    request: ImageRequest
    offers: Sequence[Offer]
    """Those that intake allowed, in order of preference."""
    backends: Mapping[str, BackendFacts]
    """By the backend's key; one that is missing is not configured."""
    now: float
    """Seconds on any clock, the one of ``BackendFacts.cooling_until``."""
    spill_to_paid: bool = False
    """A paid offer may be used while a free one that stands before it is merely busy."""


def choose(question: Question) -> Choice | NoChoice:
    """The first offer in order that can take the request, is up and has a free slot.

    A paid offer is not used where a free one that stands before it is merely busy, unless ``spill_to_paid``.
    """
    ruled_out: list[RuledOut] = []
    chosen: Offer | None = None
    free_is_busy = False
    for offer in question.offers:
        out = _ruling(question, offer)
        if out is None and chosen is not None:
            out = RuledOut(offer.key, Ruling.LATER_IN_ORDER)
        elif out is None and offer.is_paid and free_is_busy and not question.spill_to_paid:
            out = RuledOut(offer.key, Ruling.NOT_WHILE_FREE_IS_BUSY)
        if out is None:
            chosen = offer
            continue
        ruled_out.append(out)
        free_is_busy = free_is_busy or (out.ruling is Ruling.BUSY and not offer.is_paid)
    if chosen is None:
        return NoChoice(any(out.ruling not in _FOR_GOOD for out in ruled_out), tuple(ruled_out))
    return Choice(chosen, _reason(question.offers, chosen, ruled_out), tuple(ruled_out))


def _ruling(question: Question, offer: Offer) -> RuledOut | None:
    objections = offer.objections(question.request)
    if objections:
        failure = Failure(objections[0].code, objections[0].parameters)
        return RuledOut(offer.key, Ruling.CANNOT, failure)
    facts = question.backends.get(offer.backend)
    if facts is None:
        return RuledOut(offer.key, Ruling.NOT_HERE)
    if offer.is_paid and not facts.may_spend:
        return RuledOut(offer.key, Ruling.NO_MONEY)
    if facts.health is HealthState.DOWN:
        lasting = facts.problem is not None and facts.problem.code in LASTING_PROBLEMS
        return RuledOut(offer.key, Ruling.NEEDS_OPERATOR if lasting else Ruling.DOWN, facts.problem)
    if facts.cooling_until > question.now:
        return RuledOut(offer.key, Ruling.COOLING_DOWN)
    if facts.free == 0:
        return RuledOut(offer.key, Ruling.BUSY)
    return None


def _reason(offers: Sequence[Offer], chosen: Offer, ruled_out: Sequence[RuledOut]) -> Reason:
    possible = {out.offer: out.ruling for out in ruled_out if out.ruling not in _FOR_GOOD - _AWAY}
    before = [possible[offer.key] for offer in offers[: list(offers).index(chosen)] if offer.key in possible]
    if not possible:
        return Reason.ONLY_ONE
    if not before:
        return Reason.FIRST_IN_ORDER
    return Reason.OTHERS_DOWN if _AWAY.issuperset(before) else Reason.FIRST_FREE
