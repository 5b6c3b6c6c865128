"""How a picture came from another: told by what differs between the two wishes."""

from enum import StrEnum

from domain.job import Job
from domain.request import MAX_SEED, Kind


class Kinship(StrEnum):
    """What was done to the parent."""

    EDITED = "edited"
    """A picture of it was changed by an instruction."""
    REDONE = "redone"
    """The same wish in another model."""
    REWORDED = "reworded"
    """Another prompt or instruction."""
    REPEATED = "repeated"
    """The same seed again."""
    VARIED = "varied"
    """With some of another seed's noise, or with the seeds that follow."""
    REROLLED = "rerolled"
    """A new seed."""


def kinship(parent: Job, child: Job) -> Kinship:
    """How the child came from its parent."""
    before, after = parent.request, child.request
    if after.kind is Kind.EDIT and after.source != before.source:
        return Kinship.EDITED
    if after.model != before.model:
        return Kinship.REDONE
    if after.prompt != before.prompt:
        return Kinship.REWORDED
    first = parent.tasks[0].seed
    if after.seed in (before.seed, first):
        return Kinship.REPEATED if after.variations == before.variations else Kinship.VARIED
    if after.seed == (first + before.count) % (MAX_SEED + 1):
        return Kinship.VARIED
    return Kinship.REROLLED
