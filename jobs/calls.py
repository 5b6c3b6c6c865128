"""The calls that a job takes on one offer."""

from pathlib import Path

from backends.base import Call, Picture
from config.catalogue import Offer
from domain.job import TASK_OVER, Job, TaskState
from jobs.workshop import Workshop


async def calls_of(workshop: Workshop, job: Job, offer: Offer, workspace: Path) -> list[tuple[Call, str | None]]:
    """Those that are left, each with its remote id where it was accepted before."""
    submissions = await workshop.jobs.submission_ids(job.id)
    request, pictures = job.request, workshop.pictures
    return [
        (
            Call(
                job_id=job.id,
                offer=offer,
                request=request,
                pictures=tuple(Picture(index, job.tasks[index].seed, submissions[index]) for index in indexes),
                source=pictures.path(request.source.name) if request.source else None,
                references=tuple(pictures.path(picture.name) for picture in request.references),
                workspace=workspace,
            ),
            remote_id,
        )
        for indexes, remote_id in _groups(job, offer)
    ]


def _groups(job: Job, offer: Offer) -> list[tuple[tuple[int, ...], str | None]]:
    """Pictures that go in one call each: those accepted by their remote id, the rest as many as a call takes."""
    accepted: dict[str, list[int]] = {}
    pending: list[int] = []
    for task in job.tasks:
        if task.state is TaskState.ACCEPTED and task.remote_id is not None:
            accepted.setdefault(task.remote_id, []).append(task.index)
        elif task.state not in TASK_OVER:
            pending.append(task.index)
    size = offer.pictures_per_call
    return [(tuple(indexes), remote_id) for remote_id, indexes in accepted.items()] + [
        (tuple(pending[start : start + size]), None) for start in range(0, len(pending), size)
    ]
