"""The table of edges."""

from domain.job import EDGES, TASK_OVER, UNDER_WAY, WAITING, WITHOUT_PICTURE, JobState, TaskState

TERMINAL = {
    JobState.POSTED,
    JobState.UNDELIVERABLE,
    JobState.FAILED,
    JobState.CANCELLED,
    JobState.UNKNOWN,
}


def reachable(start: JobState) -> set[JobState]:
    found, frontier = {start}, [start]
    while frontier:
        for state in EDGES[frontier.pop()] - found:
            found.add(state)
            frontier.append(state)
    return found


def test_the_table_speaks_of_every_state_and_of_no_other() -> None:
    assert set(EDGES) == set(JobState)
    assert set().union(*EDGES.values()) <= set(JobState)


def test_every_state_can_be_reached_from_the_queue() -> None:
    assert reachable(JobState.QUEUED) == set(JobState)


def test_every_state_leads_to_an_end() -> None:
    assert {state for state in JobState if not EDGES[state]} == TERMINAL
    for state in JobState:
        assert reachable(state) & TERMINAL


def test_what_is_made_is_never_thrown_away() -> None:
    assert reachable(JobState.FINISHED) & WITHOUT_PICTURE == set()


def test_no_state_leads_to_itself() -> None:
    assert all(state not in following for state, following in EDGES.items())


def test_a_paid_call_that_the_provider_has_never_goes_back_to_the_queue() -> None:
    assert JobState.QUEUED not in EDGES[JobState.ACCEPTED]
    assert JobState.CANCELLED not in EDGES[JobState.SUBMITTING]


def test_the_groups_of_states_do_not_overlap() -> None:
    groups = [WAITING, UNDER_WAY, WITHOUT_PICTURE, {JobState.FINISHED, JobState.POSTING}]
    rest = {JobState.POSTED, JobState.UNDELIVERABLE}
    assert sorted([*rest, *(state for group in groups for state in group)]) == sorted(JobState)


def test_a_picture_is_over_or_it_is_not() -> None:
    assert set(TaskState) - TASK_OVER == {TaskState.PENDING, TaskState.SUBMITTING, TaskState.ACCEPTED}
