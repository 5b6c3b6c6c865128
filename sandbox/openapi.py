"""Checks requests and answers against Discord's own OpenAPI 3.1 description, where its file is at hand.

The description: https://github.com/discord/discord-api-spec. The packages jsonschema and referencing are
needed only when a path is given.
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

MOST_SHOWN = 300
MOST_KNOWN = 100_000
"""Bodies remembered as sound; each takes a few dozen bytes."""
_ID = re.compile(r'"[1-9][0-9]{16,19}"')


@lru_cache(maxsize=4)
def load(path: Path) -> Description:
    """The description in a file, read once."""
    return Description(path)


class Description:
    """Discord's description. Validators are built when first needed and kept."""

    def __init__(self, path: Path) -> None:
        from referencing import Registry, Resource
        from referencing.jsonschema import DRAFT202012

        self._document = json.loads(path.read_text(encoding="utf-8"))
        schemas = self._document["components"]["schemas"]
        # Discord takes an id as a number too, which the description leaves out and discord.py relies on.
        lenient = schemas | {"SnowflakeType": {"type": ["string", "integer"]}}
        requests = self._document | {"components": self._document["components"] | {"schemas": lenient}}
        registry: Any = Registry()
        for name, document in (("urn:discord", self._document), ("urn:requests", requests)):
            resource = Resource.from_contents(document, default_specification=DRAFT202012)
            registry = registry.with_resource(name, resource)
        self._registry = registry
        self._validators: dict[str, Any] = {}
        self._sound: set[tuple[str, bytes]] = set()

    def check_request(self, method: str, template: str, body: Any, is_multipart: bool) -> list[str]:
        """What is wrong with a request's JSON, a line each."""
        operation = self._operation(method, template)
        if operation is None or body is None:
            return []
        pointer = f"{self._pointer(method, template, 'urn:requests')}/requestBody/content/application~1json/schema"
        if "application/json" not in operation.get("requestBody", {}).get("content", {}):
            return [f"{method} {template}: a JSON body where none is described"]
        return [f"{method} {template} request{problem}" for problem in self._problems(pointer, body)]

    def check_answer(self, method: str, template: str, status: int, body: Any) -> list[str]:
        """What is wrong with an answer, a line each."""
        operation = self._operation(method, template)
        if operation is None or status >= 500:
            return []
        described = operation["responses"].get(str(status))
        where = f"{self._pointer(method, template)}/responses/{status}"
        if described is None and 400 <= status < 500:
            where = "urn:discord#/components/responses/" + (
                "ClientRatelimitedResponse" if status == 429 else "ClientErrorResponse"
            )
            described = {"content": {"application/json": {}}}
        if described is None:
            return [f"{method} {template} answer: status {status} is not described"]
        if "$ref" in described:
            where = "urn:discord" + described["$ref"]
            described = {"content": {"application/json": {}}}
        if "application/json" not in described.get("content", {}):
            return [] if body is None else [f"{method} {template} answer {status}: a body where none is described"]
        if 400 <= status < 500 and isinstance(body, dict):
            # the description has numbers as codes inside "errors"; Discord sends words (BASE_TYPE_BAD_LENGTH)
            body = {key: value for key, value in body.items() if key != "errors"}
        problems = self._problems(f"{where}/content/application~1json/schema", body)
        return [f"{method} {template} answer {status}{problem}" for problem in problems]

    def _operation(self, method: str, template: str) -> Any:
        return self._document["paths"].get(template, {}).get(method.lower())

    @staticmethod
    def _pointer(method: str, template: str, document: str = "urn:discord") -> str:
        return f"{document}#/paths/{template.replace('~', '~0').replace('/', '~1')}/{method.lower()}"

    def _problems(self, pointer: str, value: Any) -> list[str]:
        # A bot's commands take a good part of a second to check, and every start sends and gets the same ones.
        known = (pointer, _fingerprint(value))
        if known in self._sound:
            return []
        validator = self._validators.get(pointer)
        if validator is None:
            from jsonschema import Draft202012Validator

            validator = self._validators[pointer] = Draft202012Validator({"$ref": pointer}, registry=self._registry)
        found = []
        for problem in validator.iter_errors(value):
            deepest = _deepest(problem)
            found.append(f" {deepest.json_path}: {deepest.message[:MOST_SHOWN]}")
        if not found and len(self._sound) < MOST_KNOWN:
            self._sound.add(known)
        return found


def _fingerprint(value: Any) -> bytes:
    """The same for bodies that differ in nothing but ids."""
    text = _ID.sub('"1"', json.dumps(value))
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _deepest(problem: Any) -> Any:
    """The most telling part of a failed anyOf/oneOf."""
    from jsonschema.exceptions import best_match

    return best_match([problem]) or problem
