"""What all hosted backends share: one way to send, and one rule for what an answer means.

A *submit* costs money and is sent once, over a connection of its own, so that a connection which the provider
had already closed cannot make its outcome unknown. Everything else is free and may be asked again.
"""

import asyncio
import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
from pydantic import JsonValue, SecretStr

from backends.answers import BROKEN, TRANSIENT, Answer, describe, read_answer, sentence_in
from backends.base import BackendUnavailable, CallEnded, OutcomeUnknown, RequestRefused
from backends.clock import Clock
from backends.limiter import Pace, RateLimit
from domain.errors import Code, InternalError, OperatorError
from domain.request import PictureFormat

Files = Mapping[str, tuple[str, bytes, str]]
"""By the field's name: the file's name, its content, its media type."""
PROBE_SECONDS = 10.0
"""A provider that does not say how it is for so long is down."""
OPERATOR_SECONDS = 60.0
"""How long to leave a provider alone that refused the key or wants money: an operator has to act first."""

_NO_SUCH_ROUTE = frozenset({404, 405, 501})
_NOT_FOLLOWED = frozenset({301, 302, 307, 308})
"""By these a server says that it did nothing and that somebody else should be asked."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. ``read`` is the longest silence, ``total`` the longest free call."""

    connect: float = 10.0
    write: float = 60.0
    read: float = 60.0
    pool: float = 30.0
    total: float = 120.0

    @property
    def httpx(self) -> httpx.Timeout:
        """For httpx's clients."""
        return httpx.Timeout(connect=self.connect, write=self.write, read=self.read, pool=self.pool)


class Unanswered(Exception):
    """A free call got no usable answer in its time. ``reason`` is short and holds no secret."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NoSuchRoute(Exception):
    """The service does not know this call."""


class BearerAuth(httpx.Auth):
    """Sends the key to one origin and to no other."""

    def __init__(self, key: SecretStr, origin: httpx.URL) -> None:
        self._key = key
        self._origin = origin

    def auth_flow(self, request: httpx.Request) -> Iterator[httpx.Request]:  # type: ignore[override]
        """Adds the header where it belongs."""
        if same_origin(request.url, self._origin):
            request.headers["Authorization"] = f"Bearer {self._key.get_secret_value()}"
        yield request


class HostedApi:
    """A provider's JSON API. ``name`` is the backend's key, ``key_setting`` the variable that holds the API key.

    Without a key none is sent.

    Raises OperatorError (SETTING_INVALID) for a key that cannot stand in a header.
    """

    def __init__(
        self,
        *,
        name: str,
        base_url: str,
        key: SecretStr | None,
        key_setting: str = "",
        clock: Clock,
        timeouts: Timeouts,
        tls: ssl.SSLContext,
    ) -> None:
        if key is not None and re.fullmatch(r"[!-~]+", key.get_secret_value()) is None:
            raise OperatorError(
                Code.SETTING_INVALID,
                setting=key_setting,
                problem="a key is made of visible ASCII characters only",
            )
        self.name = name
        self.base_url = httpx.URL(base_url.rstrip("/"))
        self.limit = RateLimit(clock)
        self._clock = clock
        self._key = key
        self._timeouts = timeouts
        auth = BearerAuth(key, self.base_url) if key is not None else None
        headers = {"User-Agent": "easel", "Accept": "application/json"}
        self._submitting = httpx.AsyncClient(
            auth=auth,
            headers=headers,
            timeout=timeouts.httpx,
            limits=httpx.Limits(max_keepalive_connections=0),
            trust_env=False,
            verify=tls,
        )
        self._asking = httpx.AsyncClient(
            auth=auth,
            headers=headers,
            timeout=timeouts.httpx,
            limits=httpx.Limits(max_connections=50, max_keepalive_connections=10),
            trust_env=False,
            verify=tls,
        )

    def url(self, path: str) -> str:
        """The URL of a path that begins with a slash, or of the base itself for an empty one."""
        return str(self.base_url) + path

    async def submit(self, path: str, body: JsonValue, *, seconds: float | None = None) -> Answer:
        """Send a paid call, once; the answer has a 2xx status.

        ``seconds`` bounds it, where it may take longer than the ``total`` of the timeouts. Raises
        RequestRefused and BackendUnavailable where it was definitely not accepted, OutcomeUnknown otherwise.
        """
        answer = await self.send(path, body, seconds=seconds)
        if answer.ok:
            return answer
        raise self.refusal(answer)

    async def send(
        self,
        path: str,
        body: JsonValue = None,
        *,
        seconds: float | None = None,
        form: Mapping[str, str] | None = None,
        files: Files | None = None,
    ) -> Answer:
        """Like ``submit``, but the answer may have any status: the caller judges it.

        With ``files`` (and the fields of ``form``) it is sent as multipart instead of JSON.
        """
        if self.limit.wait > 0:
            raise BackendUnavailable(OperatorError(Code.BACKEND_RATE_LIMITED, backend=self.name), self.limit.wait)
        self.limit.sent()
        writing = False

        async def trace(event: str, _info: object) -> None:
            nonlocal writing
            writing = writing or event.endswith("send_request_headers.started")

        try:
            answer = await self._exchange(
                self._submitting,
                "POST",
                path,
                seconds=seconds,
                json=body,
                form=form,
                files=files,
                extensions={"trace": trace},
            )
        except BROKEN as error:
            if not writing:
                raise BackendUnavailable(self.unreachable(describe(error))) from None
            raise self.unknown(describe(error)) from None
        if answer.ok:
            self.limit.taken()
        return answer

    async def ask(self, method: str, path: str, *, json: JsonValue = None, seconds: float | None = None) -> Answer:
        """A free call, sent once, in at most ``seconds``. Raises Unanswered where no complete answer came."""
        try:
            async with asyncio.timeout(seconds):
                return await self._exchange(self._asking, method, path, json=json)
        except BROKEN as error:
            raise Unanswered(describe(error)) from None

    async def poll(self, method: str, path: str, *, until: float, pace: Pace, json: JsonValue = None) -> Answer:
        """A free call, asked again after transient failures until the clock shows ``until``.

        Raises Unanswered.
        """
        reason, wait = "too many calls", 0.0
        for delay in pace.delays():
            wait = max(wait, self.limit.rest)
            if self._clock.now() + wait > until:
                raise Unanswered(reason)
            if wait:
                await self._clock.sleep(wait)
            try:
                answer = await self.ask(method, path, json=json)
            except Unanswered as error:
                reason, wait = error.reason, delay
                continue
            if answer.status not in TRANSIENT:
                return answer
            reason, wait = f"HTTP {answer.status}", max(delay, answer.retry_after or 0)
            if answer.status == 429:
                self.limit.refused(wait)
        raise AssertionError("the delays of a pace have no end")

    async def upload(self, path: str, *, field: str, file: tuple[str, bytes, str]) -> Answer:
        """Send a file as multipart; free, so tried three times. The answer has a 2xx status.

        ``file`` is name, content, media type. Raises NoSuchRoute, RequestRefused and BackendUnavailable.
        """
        failure: CallEnded | None = None
        for delay in (1.0, 3.0, 0.0):
            try:
                answer = await self._exchange(self._asking, "POST", path, files={field: file})
            except BROKEN as error:
                failure = BackendUnavailable(self.unreachable(describe(error)))
            else:
                if answer.ok:
                    return answer
                if answer.status in _NO_SUCH_ROUTE:
                    raise NoSuchRoute
                failure = self.refusal(answer)
                if answer.status == 429 or answer.status not in TRANSIENT:
                    break
                # Nothing was paid for, so nothing is unknown.
                failure = BackendUnavailable(self.unreachable(f"HTTP {answer.status}"))
            if delay:
                await self._clock.sleep(delay)
        assert failure is not None
        if isinstance(failure, OutcomeUnknown):
            failure = BackendUnavailable(failure.error)
        raise failure

    def refusal(self, answer: Answer) -> CallEnded:
        """What a status other than 2xx says about a paid submit."""
        status, reason = answer.status, self.text(answer.body) or f"HTTP {answer.status}"
        backend = self.name
        match status:
            case 401 | 403:
                return BackendUnavailable(
                    OperatorError(Code.BACKEND_KEY_REFUSED, backend=backend, status=status, reason=reason),
                    OPERATOR_SECONDS,
                )
            case 402:
                return BackendUnavailable(
                    OperatorError(Code.BACKEND_OUT_OF_CREDIT, backend=backend, reason=reason),
                    OPERATOR_SECONDS,
                )
            case 429:
                wait = self.limit.refused(answer.retry_after)
                return BackendUnavailable(OperatorError(Code.BACKEND_RATE_LIMITED, backend=backend), wait)
            case 408 | 425:
                return BackendUnavailable(self.unreachable(f"HTTP {status}"))
            case _ if status in _NOT_FOLLOWED:
                return BackendUnavailable(
                    OperatorError(
                        Code.BACKEND_REFUSED,
                        backend=backend,
                        status=status,
                        reason="it answers with a redirect: check its base URL",
                    ),
                    OPERATOR_SECONDS,
                )
            case _ if 400 <= status < 500:
                return RequestRefused(
                    OperatorError(Code.BACKEND_REFUSED, backend=backend, status=status, reason=reason)
                )
            case _:
                return self.unknown(f"HTTP {status}")

    def unreachable(self, reason: str) -> OperatorError:
        """The error for a provider that cannot be spoken to."""
        return OperatorError(Code.BACKEND_UNREACHABLE, backend=self.name, reason=reason)

    def unknown(self, reason: str) -> OutcomeUnknown:
        """The end of a paid call whose answer was lost."""
        return OutcomeUnknown(InternalError(Code.OUTCOME_UNKNOWN, backend=self.name, reason=reason))

    def invalid(self, reason: str) -> OperatorError:
        """The error for an answer without what it has to hold."""
        return OperatorError(Code.BACKEND_ANSWER_INVALID, backend=self.name, reason=reason)

    def too_late(self) -> OutcomeUnknown:
        """The end of a call whose result was not there in its time."""
        return OutcomeUnknown(InternalError(Code.DEADLINE_PASSED, backend=self.name))

    def text(self, body: JsonValue) -> str:
        """The sentence in an error's body: one short line, without our key."""
        return self.clean(sentence_in(body))

    def clean(self, text: str) -> str:
        """A stranger's text as one short line of printable characters, without our key."""
        if self._key is not None:
            text = text.replace(self._key.get_secret_value(), "…")
        return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:200]

    async def aclose(self) -> None:
        """Close all connections."""
        await self._submitting.aclose()
        await self._asking.aclose()

    async def _exchange(
        self,
        client: httpx.AsyncClient,
        method: str,
        path: str,
        *,
        seconds: float | None = None,
        json: JsonValue = None,
        form: Mapping[str, str] | None = None,
        files: Files | None = None,
        extensions: Mapping[str, object] | None = None,
    ) -> Answer:
        timeout = self._timeouts.httpx
        if seconds is not None:
            timeout.read = seconds
        async with (
            asyncio.timeout(max(self._timeouts.total, seconds or 0)),
            client.stream(
                method,
                self.url(path),
                json=json,
                data=form,
                files=files,
                timeout=timeout,
                extensions=dict(extensions or {}),
            ) as response,
        ):
            return await read_answer(response)


def same_origin(one: httpx.URL, other: httpx.URL) -> bool:
    """Same scheme, host and port."""
    return (one.scheme, one.host, _port(one)) == (other.scheme, other.host, _port(other))


def media_type_of(path: Path) -> str:
    """By the file's extension."""
    extension = path.suffix.lower().removeprefix(".")
    known = {name: kind.media_type for kind in PictureFormat for name in (kind.extension, kind.value)}
    return known.get(extension, "application/octet-stream")


def _port(url: httpx.URL) -> int | None:
    return url.port or {"http": 80, "https": 443}.get(url.scheme)
