"""Runware's words: what an operator decides about every task, what an answer says about one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from backends.body import Body
from config.catalogue import Offer
from domain.errors import Code, EaselError, OperatorError, UserError

_SAFETY = frozenset(
    {
        "contentPolicyViolation",
        "providerContentPolicyViolation",
        "sensitiveContentDetected",
        "unsafeContentDetected",
        "nsfwContentDetected",
        "promptBlocked",
        "imageBlocked",
        "moderationFailed",
    }
)
"""Codes of the official SDK's class "safety"."""
_KEY = frozenset(
    {
        "unauthorized",
        "forbidden",
        "permissionDenied",
        "insufficientPermissions",
        "authenticationFailed",
        "accountSuspended",
        "accountDisabled",
        "tokenRevoked",
    }
)
_UNKNOWN_TASK = frozenset({"taskFailedOrNotFound", "taskNotFound"})


OUTPUT_TYPES: Final[Mapping[str, str]] = {"url": "URL", "base64": "base64Data", "data-uri": "dataURI"}


@dataclass(frozen=True, slots=True)
class Delivery:
    """What an operator decides about every task: fields that no member should type."""

    method: str = "async"
    output: str = "url"
    quality: int = 95
    ttl_seconds: int | None = None
    check_content: bool = False
    upload_endpoint: str | None = None

    def fields(self) -> Body:
        """In the vendor's words. The defaults are sent too: the vendor's may change."""
        fields: Body = {
            "deliveryMethod": self.method,
            "outputType": OUTPUT_TYPES[self.output],
            "outputQuality": self.quality,
            "safety": {"checkContent": True, "mode": "fast"} if self.check_content else {"checkContent": False},
            "includeCost": True,
        }
        if self.ttl_seconds is not None and self.output == "url":
            fields["ttl"] = self.ttl_seconds
        if self.upload_endpoint is not None:
            fields["uploadEndpoint"] = self.upload_endpoint
        return fields


@dataclass(frozen=True, slots=True)
class Result:
    """One finished picture."""

    uuid: str
    output: str | None
    """A URL, base64 or a data URI."""
    seed: int | None
    cost: float | None
    """Dollars."""
    flagged: bool


@dataclass(frozen=True, slots=True)
class Problem:
    """One error of a task."""

    code: str
    message: str
    parameters: tuple[str, ...] = ()
    """Names of the vendor's fields that it is about, dotted where they are nested."""

    @property
    def is_key(self) -> bool:
        return self.code in _KEY or "ApiKey" in self.code

    @property
    def is_credit(self) -> bool:
        return any(word in self.code for word in ("Credits", "Quota", "Balance")) or self.code == "paymentRequired"

    @property
    def is_rate_limit(self) -> bool:
        return "RateLimit" in self.code or self.code == "rateLimitExceeded"

    @property
    def is_safety(self) -> bool:
        return self.code in _SAFETY

    @property
    def is_unknown_task(self) -> bool:
        return self.code in _UNKNOWN_TASK or (self.code.startswith("invalid") and self.code.endswith("TaskUUID"))

    def error(self, backend: str, reason: str, offer: Offer) -> EaselError:
        """What people read; ``option`` names what they typed, where the error is about one of the offer's options."""
        if self.is_safety:
            return UserError(Code.CONTENT_FLAGGED, backend=backend)
        for option, parameter in offer.parameters.items():
            if any(name.partition(".")[0].partition("[")[0] in parameter.fields for name in self.parameters):
                return OperatorError(
                    Code.BACKEND_REFUSED, backend=backend, reason=f"{option.value}: {reason}", option=option.value
                )
        code = Code.BACKEND_REFUSED if self.parameters or self.code.startswith("invalid") else Code.BACKEND_FAILED
        return OperatorError(code, backend=backend, reason=reason or self.code)


@dataclass(frozen=True, slots=True)
class Answered:
    """What an answer says about one task."""

    results: tuple[Result, ...] = ()
    problems: tuple[Problem, ...] = ()
    processing: bool = False
    """Some of its pictures are being made."""
    acknowledged: bool = False
    """It was taken, without a word about its pictures."""


def read(body: JsonValue, uuid: str) -> Answered:
    """Take an answer apart. Errors without a taskUUID are about every task of the request, so about ours too."""
    if not isinstance(body, dict):
        return Answered()
    results: list[Result] = []
    problems: list[Problem] = []
    processing = acknowledged = False
    for item in _objects(body.get("data")):
        if item.get("taskUUID") != uuid:
            continue
        match item.get("status"):
            case "processing" | "pending":
                processing = True
            case "error":
                problems.append(_problem(item.get("error"), item))
            case _ if (result := _result(item)) is not None:
                results.append(result)
            case _:
                acknowledged = True
    for key in ("errors", "error"):
        for item in _objects(body.get(key)):
            if item.get("taskUUID", uuid) == uuid:
                problems.append(_problem(item.get("error"), item))
    return Answered(tuple(results), tuple(problems), processing, acknowledged)


def _objects(value: JsonValue) -> list[dict[str, JsonValue]]:
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, dict)]


def _result(item: Mapping[str, JsonValue]) -> Result | None:
    uuid = item.get("imageUUID")
    outputs = [item.get(name) for name in ("imageURL", "imageBase64Data", "imageDataURI")]
    output = next((output for output in outputs if isinstance(output, str) and output), None)
    if not isinstance(uuid, str):
        if output is None:
            return None
        uuid = output[-200:]
    seed, cost = item.get("seed"), item.get("cost")
    return Result(
        uuid=uuid,
        output=output,
        seed=seed if isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 2**63 else None,
        cost=cost if isinstance(cost, int | float) and not isinstance(cost, bool) and 0 <= cost < 1000 else None,
        flagged=bool(item.get("NSFWContent")),
    )


def _problem(inner: JsonValue, item: Mapping[str, JsonValue]) -> Problem:
    source = inner if isinstance(inner, dict) else item
    code, message, parameter = source.get("code"), source.get("message"), source.get("parameter")
    names = parameter if isinstance(parameter, list) else [parameter]
    return Problem(
        code=code if isinstance(code, str) else "",
        message=message if isinstance(message, str) else "",
        parameters=tuple(name for name in names if isinstance(name, str) and name),
    )


def balance(body: JsonValue) -> float | None:
    """Dollars on the account, from the answer to ``accountManagement``; None where it does not say."""
    match body:
        case {"data": [{"balance": int(balance) | float(balance)}, *_]}:
            return float(balance)
        case {"data": [{"balance": {"amount": int(balance) | float(balance)}}, *_]}:
            return float(balance)
        case {"data": [{"balance": dict(parts)}, *_]}:
            # The page shows an object and does not say which of its fields matter: the first number it is.
            return next((float(part) for part in parts.values() if isinstance(part, int | float)), None)
        case _:
            return None
