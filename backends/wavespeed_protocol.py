"""What WaveSpeedAI's answers look like and mean. The sources are named in ``backends.wavespeed``."""

import re
from dataclasses import dataclass
from urllib.parse import quote

from pydantic import BaseModel, JsonValue, ValidationError, field_validator

from backends.answers import sentence_in
from config.catalogue import Offer
from domain.errors import Code, EaselError, OperatorError, UserError

FAILED = frozenset({"failed", "cancelled", "timeout", "deleted"})
"""Terminal statuses without a picture; the official SDK knows the last three."""
_MODERATION = 1200
_PARAMETERS = frozenset({1400, 1401})
REFUSAL_CODES = _PARAMETERS | {_MODERATION, 1402}
"""Codes that say the request was not taken, where no task id comes with them."""
_FAILURE_CODES = (1200, 1400, 1401, 1402, 1403, 1405, 5000, 5003, 5004)
PASSING = frozenset({5000, 5003, 5004})
"""Codes to ask again after; around an answer that tells no failure they end nothing."""


class Prediction(BaseModel):
    """``data`` of every answer about a task. The pages call ``outputs`` a string once and an array elsewhere."""

    id: str = ""
    status: str = ""
    outputs: tuple[str, ...] = ()
    has_nsfw_contents: bool | tuple[bool, ...] | None = None
    error: str = ""
    code: int | None = None
    timings: dict[str, JsonValue] = {}

    @field_validator("outputs", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        if isinstance(value, str):
            return (value,) if value else ()
        return value or ()

    @field_validator("error", mode="before")
    @classmethod
    def _text(cls, value: object) -> object:
        match value:
            case {"message": str(message), **rest}:
                return f"{message} {rest.get('code', '')}".rstrip()
            case None:
                return ""
            case _:
                return value

    @field_validator("timings", mode="before")
    @classmethod
    def _object(cls, value: object) -> object:
        return value if isinstance(value, dict) else {}

    @property
    def flagged(self) -> bool:
        match self.has_nsfw_contents:
            case None:
                return False
            case bool(flag):
                return flag
            case flags:
                return any(flags)

    @property
    def seconds(self) -> float | None:
        milliseconds = self.timings.get("inference")
        if isinstance(milliseconds, int | float) and milliseconds > 0:
            return float(milliseconds) / 1000
        return None


@dataclass(frozen=True, slots=True)
class Reading:
    """What an answer says: the code around it (200, an HTTP status or one of theirs) and the task."""

    code: int | None
    message: str
    """As it came: nothing of it is shown before it is cleaned."""
    prediction: Prediction | None


def read(body: JsonValue) -> Reading | None:
    """What the body of any answer says; None where it makes no sense."""
    if not isinstance(body, dict):
        return None
    code = body.get("code")
    message = sentence_in(body)
    data = body.get("data")
    prediction: Prediction | None = None
    if isinstance(data, dict):
        try:
            prediction = Prediction.model_validate(data)
        except ValidationError:
            # The id matters more than the rest: with it the task is ours to poll.
            task_id = data.get("id")
            prediction = Prediction(id=task_id) if isinstance(task_id, str) else None
    code = code if isinstance(code, int) else None
    if prediction is not None:
        if prediction.code is None and code in _FAILURE_CODES:
            prediction = prediction.model_copy(update={"code": code})
        if not prediction.id and not prediction.status:
            prediction = None
    return Reading(code, message, prediction)


def failure(backend: str, code: int | None, text: str, reason: str) -> EaselError:
    """What a code means, or where that is none of theirs the one that ``text`` names.

    ``reason``: the text as it can be shown.
    """
    if code not in _FAILURE_CODES:
        named = [known for known in _FAILURE_CODES if re.search(rf"\b{known}\b", text)]
        code = named[0] if named else code
    if code == _MODERATION:
        return UserError(Code.CONTENT_FLAGGED, backend=backend)
    if code in _PARAMETERS:
        return OperatorError(Code.BACKEND_REFUSED, backend=backend, status=code or 0, reason=reason)
    return OperatorError(Code.BACKEND_FAILED, backend=backend, reason=reason)


def result_path(offer: Offer, remote_id: str) -> str:
    """A task is asked for under the API version that it was submitted to; the URL in the answer is not used."""
    version = re.match(r"/api/(v\d+)/", offer.target)
    assert version is not None, f"not a path of WaveSpeedAI's: {offer.target}"
    return f"/api/{version[1]}/predictions/{quote(remote_id, safe='')}/result"
