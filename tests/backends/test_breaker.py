"""When a backend is left alone, and how it comes back."""

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from backends.breaker import Breaker, BreakerState, Tolerance
from domain.errors import Code
from domain.job import Failure
from tests.doubles import FakeClock

PROBLEM = Failure(Code.BACKEND_UNREACHABLE, {"backend": "x"})
REFUSED = Failure(Code.BACKEND_KEY_REFUSED, {"backend": "x"})
TOLERANCE = Tolerance(faults=3, window=60, first_rest=10, growth=2, longest_rest=35)


def make(clock: FakeClock) -> Breaker:
    return Breaker(clock.now, TOLERANCE)


def opened(clock: FakeClock) -> Breaker:
    breaker = make(clock)
    for _ in range(3):
        breaker.failed(PROBLEM)
    return breaker


def half_open(clock: FakeClock) -> Breaker:
    breaker = opened(clock)
    clock.time += 10
    return breaker


def test_faults_within_the_window_open_it() -> None:
    clock = FakeClock()
    breaker = make(clock)
    breaker.failed(PROBLEM)
    breaker.failed(PROBLEM)
    assert (breaker.state, breaker.allows, breaker.problem) == (BreakerState.CLOSED, True, None)
    breaker.failed(PROBLEM)
    assert (breaker.state, breaker.allows, breaker.problem) == (BreakerState.OPEN, False, PROBLEM)
    assert breaker.opens_at == clock.time + 10


def test_old_faults_are_forgotten() -> None:
    clock = FakeClock()
    breaker = make(clock)
    for _ in range(10):
        breaker.failed(PROBLEM)
        clock.time += 30
    assert breaker.state is BreakerState.CLOSED


def test_a_success_makes_up_for_a_fault() -> None:
    breaker = make(FakeClock())
    for _ in range(10):
        breaker.failed(PROBLEM)
        breaker.succeeded()
    assert breaker.state is BreakerState.CLOSED


def test_a_call_that_hung_opens_it_at_once() -> None:
    breaker = make(FakeClock())
    breaker.failed(PROBLEM, hung=True)
    assert breaker.state is BreakerState.OPEN


def test_exactly_one_is_let_through() -> None:
    clock = FakeClock()
    breaker = half_open(clock)
    assert (breaker.state, breaker.allows) == (BreakerState.HALF_OPEN, True)
    breaker.admit("one")
    assert not breaker.allows
    assert breaker.is_probe("one")
    assert not breaker.is_probe("other")


def test_its_success_closes_it() -> None:
    breaker = half_open(FakeClock())
    breaker.admit("one")
    breaker.succeeded()
    breaker.dismiss("one")
    assert (breaker.state, breaker.allows) == (BreakerState.CLOSED, True)
    breaker.failed(PROBLEM)
    breaker.failed(PROBLEM)
    assert breaker.state is BreakerState.CLOSED, "it begins anew"


def test_its_failure_opens_it_for_longer_up_to_a_limit() -> None:
    clock = FakeClock()
    breaker = half_open(clock)
    rests = []
    for _ in range(4):
        breaker.admit("one")
        breaker.failed(PROBLEM)
        breaker.dismiss("one")
        assert breaker.opens_at is not None
        rests.append(breaker.opens_at - clock.time)
        clock.time = breaker.opens_at
    assert rests == [20, 35, 35, 35]


def test_a_probe_that_tells_nothing_makes_room_for_another() -> None:
    breaker = half_open(FakeClock())
    breaker.admit("one")
    breaker.dismiss("another")
    assert not breaker.allows
    breaker.dismiss("one")
    assert breaker.allows


def test_what_ends_while_it_is_open_changes_nothing() -> None:
    clock = FakeClock()
    breaker = opened(clock)
    at = breaker.opens_at
    breaker.succeeded()
    breaker.failed(PROBLEM, hung=True)
    breaker.found_well()
    assert (breaker.state, breaker.opens_at) == (BreakerState.OPEN, at)


def test_a_look_that_finds_it_down_spares_the_probe() -> None:
    clock = FakeClock()
    breaker = half_open(clock)
    breaker.found_down()
    assert (breaker.state, breaker.opens_at) == (BreakerState.OPEN, clock.time + 20)
    clock.time += 20
    breaker.found_well()
    assert (breaker.state, breaker.allows) == (BreakerState.HALF_OPEN, True)


def test_what_an_operator_has_to_mend_holds_it_until_it_says_that_it_is_well() -> None:
    clock = FakeClock()
    breaker = make(clock)
    breaker.hold(REFUSED, 60)
    breaker.succeeded()
    breaker.failed(PROBLEM)
    breaker.found_well()
    assert (breaker.state, breaker.problem, breaker.allows) == (BreakerState.HELD, REFUSED, False)
    assert breaker.opens_at is None
    clock.time += 3600
    assert breaker.state is BreakerState.HELD, "time alone mends nothing"
    breaker.found_down()
    assert breaker.state is BreakerState.HELD
    breaker.found_well()
    assert breaker.allows


class Calls(RuleBasedStateMachine):
    """Any number of calls that start, end and are looked after, in any order."""

    running = Bundle("running")

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.breaker = make(self.clock)
        self.started_half_open: set[str] = set()
        self.number = 0

    @rule(target=running)
    def start(self) -> object:
        if not self.breaker.allows:
            return multiple()
        self.number += 1
        call = str(self.number)
        half = self.breaker.state is BreakerState.HALF_OPEN
        self.breaker.admit(call)
        if half:
            self.started_half_open.add(call)
            assert self.breaker.is_probe(call)
        return call

    @rule(hung=st.booleans())
    def fail(self, hung: bool) -> None:
        before = self.breaker.state
        self.breaker.failed(PROBLEM, hung=hung)
        if before is BreakerState.HALF_OPEN or (hung and before is BreakerState.CLOSED):
            assert self.breaker.state is BreakerState.OPEN

    @rule()
    def succeed(self) -> None:
        before = self.breaker.state
        self.breaker.succeeded()
        if before is BreakerState.HALF_OPEN:
            assert self.breaker.state is BreakerState.CLOSED

    @rule(call=running)
    def end(self, call: str) -> None:
        self.breaker.dismiss(call)
        self.started_half_open.discard(call)

    @rule()
    def hold(self) -> None:
        self.breaker.hold(REFUSED, 5)
        assert not self.breaker.allows

    @rule(well=st.booleans())
    def look(self, well: bool) -> None:
        if well:
            self.breaker.found_well()
        else:
            self.breaker.found_down()

    @rule(seconds=st.sampled_from([1, 10, 40, 100]))
    def wait(self, seconds: int) -> None:
        self.clock.time += seconds

    @invariant()
    def at_most_one_probe(self) -> None:
        assert sum(self.breaker.is_probe(str(call)) for call in range(1, self.number + 1)) <= 1
        if self.breaker.state is BreakerState.HALF_OPEN:
            assert self.breaker.allows is not any(map(self.breaker.is_probe, self.started_half_open))

    @invariant()
    def says_why_and_until_when(self) -> None:
        state = self.breaker.state
        assert (self.breaker.problem is None) == (state is BreakerState.CLOSED)
        at = self.breaker.opens_at
        assert (at is not None) == (state is BreakerState.OPEN)
        if at is not None:
            assert 0 < at - self.clock.time <= TOLERANCE.longest_rest


TestAnyOrder = Calls.TestCase
