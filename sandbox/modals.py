"""Fills in a modal as Discord's client does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sandbox.model import SELECTS, ComponentType, File, Json
from sandbox.options import ClientRefuses, Resolved

_GROUPS = (ComponentType.CHECKBOX_GROUP,)


def submission(
    modal: Json,
    values: Mapping[str, Any],
    resolved: Resolved,
    select_value: Callable[[Any, Resolved], str],
    *,
    raw: bool,
) -> Json:
    """The ``data`` of a modal submit interaction.

    Raises:
        ClientRefuses: not raw, and a value is missing or breaks a limit of its field.
    """
    left = dict(values)

    def fill(field: Json, label: str | None) -> Json:
        kind = ComponentType(field["type"])
        given = next((left.pop(name) for name in (field.get("custom_id"), label) if name in left), None)
        entry: Json = {"type": int(kind), "id": field.get("id", 0), "custom_id": field["custom_id"]}
        if kind is ComponentType.TEXT_INPUT:
            entry["value"] = field.get("value") or "" if given is None else given
            if not raw:
                _check_text(field, label or field["custom_id"], entry["value"])
        elif kind is ComponentType.CHECKBOX:
            entry["value"] = bool(field.get("default", False) if given is None else given)
        elif kind is ComponentType.RADIO_GROUP:
            entry["value"] = given
        elif kind is ComponentType.FILE_UPLOAD:
            files: list[File] = list(given or [])
            entry["values"] = [resolved.attachment(file) for file in files]
        elif kind in SELECTS or kind in _GROUPS:
            entry["values"] = [select_value(value, resolved) for value in given or []]
        counted = entry.get("values")
        needs = field.get("min_values", 1) if field.get("required", True) else 0
        if not raw and counted is not None and len(counted) < needs:
            raise ClientRefuses(f"{label or field['custom_id']}: this field is required")
        return entry

    components: list[Json] = []
    for number, component in enumerate(modal["components"], 1):
        kind = component["type"]
        base: Json = {"type": kind, "id": component.get("id", number)}
        if kind == ComponentType.ACTION_ROW:
            base["components"] = [fill(child, child.get("label")) for child in component["components"]]
        elif kind == ComponentType.LABEL:
            base["component"] = fill(component["component"], component.get("label"))
        components.append(base)
    if left and not raw:
        raise ClientRefuses(f"the modal has no fields {sorted(left)}")
    data: Json = {"custom_id": modal["custom_id"], "components": components}
    if resolved.data:
        data["resolved"] = resolved.data
    return data


def _check_text(field: Json, name: str, text: str) -> None:
    if not text:
        if field.get("required", True):
            raise ClientRefuses(f"{name}: this field is required")
        return
    if not (field.get("min_length") or 0) <= len(text) <= (field.get("max_length") or 4000):
        raise ClientRefuses(f"{name}: {len(text)} characters are too few or too many")
