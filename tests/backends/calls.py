"""Calls to make in tests."""

import hashlib
import io
from pathlib import Path
from typing import Any
from uuid import UUID

from PIL import Image

from backends.base import Call, Event, Events, Picture
from config.catalogue import Catalogue, Offer
from config.parameters import Option
from domain.request import ImageRequest, InputPicture, Kind

CATALOGUE = Catalogue.load()


def offer(key: str) -> Offer:
    """An offer of the shipped catalogue, e.g. ``wavespeed:hidream-i1-dev``."""
    found = CATALOGUE.offer(key)
    assert found is not None, f"no offer is called {key}"
    return found


def make_call(
    offer: Offer, folder: Path, *, seeds: tuple[int, ...] = (7,), submission: str = "", **request: Any
) -> Call:
    """One call for the offer; a source picture is added where the offer wants one.

    Calls with the same word for ``submission`` have the same submission ids.
    """
    workspace = folder / "workspace"
    workspace.mkdir(exist_ok=True)
    source = None
    kind = Kind.IMAGINE
    if Option.IMAGE in offer.parameters:
        source = folder / "source.png"
        source.write_bytes(png())
        kind = Kind.EDIT
        request.setdefault("source", InputPicture(name="source.png", width=16, height=16))
    given: dict[str, Any] = {"kind": kind, "model": offer.model_key, "prompt": "a red circle", "seed": seeds[0]}
    return Call(
        job_id="job",
        offer=offer,
        request=ImageRequest(**(given | request)),
        pictures=tuple(Picture(index, seed, _submission_id(submission, index)) for index, seed in enumerate(seeds)),
        source=source,
        workspace=workspace,
    )


def _submission_id(word: str, index: int) -> str:
    return str(UUID(hashlib.md5(f"{word}{index}".encode()).hexdigest(), version=4))


def png(width: int = 16, height: int = 16) -> bytes:
    """A real PNG."""
    content = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(content, "png")
    return content.getvalue()


async def collect(events: Events) -> list[Event]:
    """All events of a call."""
    return [event async for event in events]
