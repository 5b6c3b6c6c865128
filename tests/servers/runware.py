"""A strict stand-in for Runware, written from the vendor's pages. It has never met the real service.

Routes for faults and counts: ``submit`` (imageInference), ``poll`` (getResponse), ``account``, ``output``.
"""

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from aiohttp import web

from tests.servers.hosted import KEY, HostedServer, Refused, picture, replaced, serve

_SCHEDULERS = """
DDIM|DDIMScheduler|DDPMScheduler|DEISMultistepScheduler|Default|DPM++|DPM++ 2M|DPM++ 2M Beta|DPM++ 2M Exponential
DPM++ 2M Karras|DPM++ 2M SDE|DPM++ 2M SDE Beta|DPM++ 2M SDE Exponential|DPM++ 2M SDE Karras|DPM++ 2M SDE Uniform
DPM++ 2M Uniform|DPM++ 3M|DPM++ 3M Beta|DPM++ 3M Exponential|DPM++ 3M Karras|DPM++ 3M SDE Uniform|DPM++ 3M Uniform
DPM++ Beta|DPM++ Exponential|DPM++ Karras|DPM++ SDE|DPM++ SDE Beta|DPM++ SDE Exponential|DPM++ SDE Karras
DPM++ Uniform|DPM++ Uniform Beta|DPM++ Uniform Exponential|DPM++ Uniform Karras|DPMSolverMultistepInverse
DPMSolverMultistepScheduler|DPMSolverSinglestepScheduler|EDMDPMSolverMultistepScheduler|EDMEulerScheduler|Euler
Euler a|Euler Beta|Euler Exponential|Euler Karras|EulerAncestralDiscreteScheduler|EulerDiscreteScheduler
FlowMatchEulerDiscreteScheduler|Heun|HeunDiscreteScheduler|Heun Karras|IPNDMScheduler|IPNDM Uniform
IPNDM Uniform Beta|IPNDM Uniform Exponential|IPNDM Uniform Karras|KDPM2AncestralDiscreteScheduler
KDPM2DiscreteScheduler|LCM|LCMScheduler|LMS|LMSDiscreteScheduler|LMS Karras|PNDMScheduler|TCDScheduler|UniPC
UniPC 2M|UniPC 2M Karras|UniPC 2M Uniform|UniPC 3M|UniPC 3M Karras|UniPC 3M Uniform|UniPC Karras|UniPC Uniform
UniPC Uniform Beta|UniPC Uniform Exponential|UniPC Uniform Karras
"""
SCHEDULERS = frozenset(_SCHEDULERS.strip().replace("\n", "|").split("|"))
"""The 75 values, from the official SDK (runware-sdk 1.8.0)."""


@dataclass(frozen=True)
class Plan:
    """What becomes of a task."""

    polls: int = 1
    """Answers of "processing" before the first result."""
    one_by_one: bool = False
    """Each poll has one more result than the last; otherwise all come together."""
    failures: tuple[int, ...] = ()
    """Numbers of the results (from 0) that fail."""
    code: str = "inferenceError"
    message: str = "it failed"
    parameter: Any = None
    nsfw: bool = False
    cost: float | None = 0.0083
    seeds: tuple[int, ...] = ()
    """Seeds that the results are told to have; by default the task's and the ones after it."""
    output: str = "picture"
    """``picture``, ``missing``, ``text``, ``nothing``, ``redirect:URL`` or ``url:URL``."""
    pending: str = "processing"
    """The word for work under way; older answers say ``pending``."""


@dataclass
class Task:
    """A task that was accepted."""

    uuid: str
    body: dict[str, Any]
    plan: Plan
    image_uuids: list[str]
    polls: int = 0


Check = Callable[[Any], bool]


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _boolean(value: Any) -> bool:
    return isinstance(value, bool)


def _one_of(*words: str) -> Check:
    return lambda value: value in words


def _whole(minimum: int, maximum: int | None = None, step: int = 1) -> Check:
    def check(value: Any) -> bool:
        if not isinstance(value, int) or isinstance(value, bool):
            return False
        return minimum <= value and (maximum is None or value <= maximum) and value % step == 0

    return check


def _decimal(minimum: float, maximum: float | None = None) -> Check:
    def check(value: Any) -> bool:
        if not isinstance(value, int | float) or isinstance(value, bool):
            return False
        on_grid = Decimal(str(value)) % Decimal("0.01") == 0
        return minimum <= value and (maximum is None or value <= maximum) and on_grid

    return check


def _uri(value: Any) -> bool:
    return isinstance(value, str) and re.match(r"https?://\S+$", value) is not None


def _uuid(value: Any) -> bool:
    try:
        return isinstance(value, str) and UUID(value).version == 4
    except ValueError:
        return False


def _object(fields: Mapping[str, Check], *required: str) -> Check:
    def check(value: Any) -> bool:
        return (
            isinstance(value, dict)
            and all(name in fields and fields[name](inner) for name, inner in value.items())
            and all(name in value for name in required)
        )

    return check


_LORA = _object({"model": _text, "weight": _decimal(-4, 4), "transformer": _one_of("high", "low", "both")}, "model")
FIELDS: dict[str, Check] = {
    "taskType": _one_of("imageInference"),
    "taskUUID": _uuid,
    "outputType": _one_of("URL", "base64Data", "dataURI"),
    "outputFormat": _one_of("JPG", "PNG", "WEBP"),
    "outputQuality": _whole(20, 99),
    "webhookURL": _uri,
    "deliveryMethod": _one_of("sync", "async"),
    "uploadEndpoint": _uri,
    "safety": _object({"checkContent": _boolean, "mode": _one_of("none", "fast")}),
    "ttl": _whole(60),
    "includeCost": _boolean,
    "numberResults": _whole(1, 20),
    "acceleratorOptions": _object(
        {
            "cacheEndStep": _whole(1),
            "cacheEndStepPercentage": _whole(1, 100),
            "cacheMaxConsecutiveSteps": _whole(1, 5),
            "cacheStartStep": _whole(0),
            "cacheStartStepPercentage": _whole(0, 99),
            "fbCache": _boolean,
            "fbCacheThreshold": _decimal(0, 1),
            "teaCache": _boolean,
            "teaCacheDistance": _decimal(0, 1),
            "dbCache": _boolean,
            "dbCacheThreshold": _decimal(0, 1),
            "dbCacheSkipInterval": _whole(1),
        }
    ),
    "model": _one_of("runware:97@1", "runware:97@2", "runware:97@3"),
    "positivePrompt": _text,
    "negativePrompt": _text,
    "width": _whole(128, 2048, 16),
    "height": _whole(128, 2048, 16),
    "seed": _whole(0, 2**63 - 1),
    "steps": _whole(1),
    "scheduler": lambda value: value in SCHEDULERS,
    "CFGScale": _decimal(0),
    "lora": lambda value: isinstance(value, list) and bool(value) and all(map(_LORA, value)),
}
REQUIRED = ("taskType", "taskUUID", "model", "positivePrompt")


class RunwareServer(HostedServer):
    """See ``HostedServer``."""

    def __init__(self, key: str = KEY, port: int = 0, plan: Plan | None = None) -> None:
        super().__init__(key, port)
        self.plan = plan or Plan()
        self.tasks: dict[str, Task] = {}
        self._images: dict[str, tuple[Task, int]] = {}

    def add_routes(self, app: web.Application) -> None:
        app.router.add_post("/v1", self._receive)
        app.router.add_get("/images/{id}", self._output)

    def state(self) -> dict[str, Any]:
        tasks = [{"id": task.uuid, "body": task.body, "polls": task.polls} for task in self.tasks.values()]
        return super().state() | {"accepted": len(self.tasks), "tasks": tasks}

    def set_plan(self, **plan: Any) -> None:
        self.plan = replaced(self.plan, plan)
        for task in self.tasks.values():
            task.plan = self.plan

    @property
    def submits(self) -> int:
        """Requests with an imageInference task, good and bad."""
        return self.count("submit")

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        try:
            body = await request.json()
        except ValueError:
            body = None
        tasks = body if isinstance(body, list) else [{}]
        kind = tasks[-1].get("taskType") if tasks and isinstance(tasks[-1], dict) else None
        route = {"imageInference": "submit", "getResponse": "poll", "accountManagement": "account"}.get(
            str(kind), "other"
        )
        fault = self.note(request, route, body)
        try:
            self.authorize(request)
            if fault is not None and not fault.accepted:
                return await self.inject(request, fault)
            if request.content_type != "application/json" or not isinstance(body, list) or not body:
                raise Refused(400, "an array of tasks expected", code="invalidJSON")
            answer: dict[str, list[Any]] = {"data": [], "errors": []}
            for task in body:
                data, errors = self._task(task)
                answer["data"] += data
                answer["errors"] += errors
        except Refused as refused:
            return web.json_response({"errors": [_error(refused)]}, status=refused.status)
        if fault is not None:
            return await self.inject(request, fault)
        status = 200 if answer["data"] or not answer["errors"] else 400
        return web.json_response({name: items for name, items in answer.items() if items}, status=status)

    def _task(self, body: Any) -> tuple[list[Any], list[Any]]:
        if not isinstance(body, dict):
            raise Refused(400, "a task is an object", code="invalidTask")
        match body.get("taskType"):
            case "imageInference":
                return self._infer(body)
            case "getResponse":
                if set(body) != {"taskType", "taskUUID"}:
                    raise Refused(400, "unknown parameter", code="unknownParameter")
                task = self.tasks.get(body["taskUUID"])
                if task is None:
                    refused = Refused(400, "no such task", code="taskFailedOrNotFound", taskUUID=body["taskUUID"])
                    return [], [_error(refused)]
                task.polls += 1
                return self._results(task, task.polls)
            case "accountManagement":
                if set(body) != {"taskType", "taskUUID", "operation"} or body["operation"] != "getDetails":
                    raise Refused(400, "unknown operation", code="invalidOperation")
                return [body | {"organizationName": "Test", "balance": 7.25}], []
            case _:
                raise Refused(400, "unknown task type", code="unsupportedTaskType", parameter="taskType")

    def _infer(self, body: dict[str, Any]) -> tuple[list[Any], list[Any]]:
        check(body)
        uuid = body["taskUUID"]
        if uuid in self.tasks:
            raise Refused(400, "this taskUUID was used", code="conflictTaskUUID", parameter="taskUUID", taskUUID=uuid)
        images = [str(uuid4()) for _ in range(body.get("numberResults", 1))]
        task = self.tasks[uuid] = Task(uuid, body, self.plan, images)
        for number, image in enumerate(images):
            self._images[image] = (task, number)
        if body.get("deliveryMethod", "sync") == "async":
            return [{"taskType": "imageInference", "taskUUID": uuid}], []
        return self._results(task, task.plan.polls + len(images))

    def _results(self, task: Task, polls: int) -> tuple[list[Any], list[Any]]:
        plan, data, errors = task.plan, [], []
        asynchronous = task.body.get("deliveryMethod") == "async"
        for number, image in enumerate(task.image_uuids):
            ready = polls > plan.polls + (number if plan.one_by_one else 0)
            common: dict[str, Any] = {"taskType": "imageInference", "taskUUID": task.uuid}
            if not ready:
                data.append(common | {"status": plan.pending})
            elif number in plan.failures:
                refused = Refused(400, plan.message, code=plan.code, parameter=plan.parameter, taskUUID=task.uuid)
                errors.append(_error(refused) | {"status": "error"})
            else:
                data.append(
                    common | self._result(task, number, image) | ({"status": "success"} if asynchronous else {})
                )
        return data, errors

    def _result(self, task: Task, number: int, image: str) -> dict[str, Any]:
        plan = task.plan
        result: dict[str, Any] = {"imageUUID": image, "seed": self._seed(task, number)}
        if task.body.get("includeCost") and plan.cost is not None:
            result["cost"] = plan.cost
        if task.body.get("safety", {}).get("checkContent"):
            result["NSFWContent"] = plan.nsfw
        if plan.output == "nothing":
            return result
        if plan.output.startswith("url:"):
            return result | {"imageURL": plan.output.removeprefix("url:")}
        match task.body.get("outputType", "URL"):
            case "base64Data":
                return result | {"imageBase64Data": base64.b64encode(self._picture(task, number)).decode()}
            case "dataURI":
                content = base64.b64encode(self._picture(task, number)).decode()
                return result | {"imageDataURI": f"data:image/png;base64,{content}"}
            case _:
                return result | {"imageURL": f"{self.url.removesuffix('/v1')}/images/{image}"}

    def _seed(self, task: Task, number: int) -> int:
        if task.plan.seeds:
            return task.plan.seeds[number]
        return int(task.body.get("seed", 0)) + number

    def _picture(self, task: Task, number: int) -> bytes:
        body = task.body
        kind = {"JPG": "jpeg", "PNG": "png", "WEBP": "webp"}[body.get("outputFormat", "JPG")]
        width, height = body.get("width", 1024), body.get("height", 1024)
        return picture(width, height, self._seed(task, number), body["positivePrompt"], kind)

    async def _output(self, request: web.Request) -> web.StreamResponse:
        fault = self.note(request, "output")
        if fault is not None:
            return await self.inject(request, fault)
        task, number = self._images[request.match_info["id"]]
        behaviour = task.plan.output
        if behaviour == "missing":
            return web.Response(status=404)
        if behaviour == "text":
            return web.Response(text="<html>", content_type="image/png")
        if behaviour.startswith("redirect:"):
            return web.Response(status=302, headers={"Location": behaviour.removeprefix("redirect:")})
        return web.Response(body=self._picture(task, number), content_type="image/png")


def check(body: dict[str, Any]) -> None:
    """Raises Refused where the documents do not allow the task."""
    uuid = body.get("taskUUID")
    for name in REQUIRED:
        if name not in body:
            raise Refused(400, f"{name} is required", code="missingParameter", parameter=name, taskUUID=uuid)
    for name, value in body.items():
        if name not in FIELDS:
            raise Refused(400, f"unknown parameter {name}", code="unknownParameter", parameter=name, taskUUID=uuid)
        if not FIELDS[name](value):
            raise Refused(400, f"bad value {value!r}", code=f"invalid{name}", parameter=name, taskUUID=uuid)
    problem = None
    if ("width" in body) != ("height" in body):
        problem = "width and height go together"
    if "ttl" in body and body.get("outputType", "URL") != "URL":
        problem = "ttl is for URLs"
    options = body.get("acceleratorOptions", {})
    for one, other in (("cacheStartStep", "cacheEndStep"), ("cacheStartStepPercentage", "cacheEndStepPercentage")):
        if one in options and other in options and options[one] >= options[other]:
            problem = f"{other} must be greater than {one}"
        if one + "Percentage" in options and one in options:
            problem = f"{one} is there twice"
    if options.get("cacheEndStep", 0) > body.get("steps", 30):
        problem = "cacheEndStep must be at most steps"
    if problem is not None:
        raise Refused(400, problem, code="incompatibleParameters", taskUUID=uuid)


def _error(refused: Refused) -> dict[str, Any]:
    more = {name: value for name, value in refused.more.items() if value is not None}
    if refused.status == 401:
        more["code"] = "invalidApiKey"
    return {"message": refused.message, "taskType": "imageInference", "documentation": "https://runware.ai/docs"} | more


class _Standalone(RunwareServer):
    """Prints a URL that can be used as RUNWARE_BASE_URL."""

    async def __aenter__(self) -> "_Standalone":
        await super().__aenter__()
        self.url += "/v1"
        return self


if __name__ == "__main__":
    serve(_Standalone, "runware")
