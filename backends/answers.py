"""Reading what an HTTP service answered, or why it did not."""

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import httpx
from pydantic import JsonValue
from pydantic_core import from_json


class AnswerTooLarge(Exception):
    """More bytes than any true answer has."""


MAX_ANSWER_BYTES = 96 * 2**20
"""A picture of 64 MiB in base64, and room for the JSON around it."""
LARGE_ANSWER_BYTES = 2**16
"""From here on an answer is read off the event loop."""
MAX_RETRY_AFTER = 3600.0
"""Seconds. Who asks for more is asked again after an hour."""
TRANSIENT: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which a free call may be asked again."""
GATEWAY = frozenset({502, 503, 504})
"""Statuses by which a gateway says that the service behind it is away."""
BROKEN = (httpx.RequestError, OSError, AnswerTooLarge)
"""Raised where an exchange did not come to its end; TimeoutError is an OSError."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete HTTP answer. ``body`` is None where it was not JSON (or JSON's null)."""

    status: int
    body: JsonValue
    retry_after: float | None = None

    @property
    def ok(self) -> bool:
        """The status says that it worked."""
        return 200 <= self.status < 300


async def read_answer(response: httpx.Response) -> Answer:
    """The whole answer, as far as it came. Raises httpx.RequestError and AnswerTooLarge."""
    try:
        content = await _content(response)
    except (httpx.RequestError, AnswerTooLarge):
        # A refusal is a refusal, even when its explanation is lost.
        if not 400 <= response.status_code < 500:
            raise
        content = b""
    # Pictures come in answers: to read one takes as long as some acknowledgements.
    body = _json(content) if len(content) < LARGE_ANSWER_BYTES else await asyncio.to_thread(_json, content)
    return Answer(response.status_code, body, retry_after(response.headers))


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds that a Retry-After header asks for (RFC 9110, 10.2.3: seconds or a date), at most an hour."""
    value = headers.get("Retry-After", "").strip()
    if not value:
        return None
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value, re.ASCII):
        return min(float(value), MAX_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max(0.0, (moment - (now or datetime.now(UTC))).total_seconds()), MAX_RETRY_AFTER)


def describe(error: Exception) -> str:
    """What broke, in a word or two and never in the words of an exception: those can hold headers."""
    match error:
        case httpx.ConnectError():
            return "no connection"
        case httpx.ConnectTimeout():
            return "no connection in time"
        case httpx.PoolTimeout():
            return "too many calls at once"
        case httpx.TimeoutException() | TimeoutError():
            return "no answer in time"
        case AnswerTooLarge():
            return "an answer that is too large"
        case _:
            return "connection lost"


def sentence_in(body: JsonValue) -> str:
    """The sentence in an error's body, as services of this kind write it; empty where there is none."""
    match body:
        case str():
            return body
        case {"message": str(text)} | {"error": str(text)} | {"detail": str(text)}:
            return text
        case {"error": dict(inner)}:
            return sentence_in(inner)
        case {"errors": [first, *_]}:
            return sentence_in(first)
        case _:
            return ""


async def _content(response: httpx.Response) -> bytes:
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > MAX_ANSWER_BYTES:
            raise AnswerTooLarge
    return bytes(content)


def _json(content: bytes) -> JsonValue:
    try:
        # A fifth of the time that the standard library's takes for a picture, while no other thread can run.
        value: JsonValue = from_json(content)
    except ValueError:
        pass
    else:
        return value
    try:
        # It takes what the other does not: half an emoji, where a prompt that is told back was cut off.
        value = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return value
