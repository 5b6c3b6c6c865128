"""Turns what a bot sent into what Discord shows: ``attachment://`` resolved, defaults filled in."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from sandbox.errors import FormErrors
from sandbox.model import SELECTS, Attachment, ComponentType, Json, walk_components
from sandbox.snowflake import Snowflakes


def resolver(attachments: list[Attachment], wrong: FormErrors) -> Callable[[str, str], Attachment | None]:
    """Find the attachment behind a URL; an ``attachment://`` that names none is noted under ``path``."""
    by_name = {attachment.filename: attachment for attachment in attachments}
    by_url = {attachment.url: attachment for attachment in attachments}

    def resolve(url: str, path: str) -> Attachment | None:
        if not url.startswith("attachment://"):
            return by_url.get(url)
        found = by_name.get(url.removeprefix("attachment://"))
        if found is None:
            wrong.add(path, "ATTACHMENT_NOT_FOUND", f'The referenced attachment "{url[:200]}" was not found')
        return found

    return resolve


def render_embeds(embeds: list[Json], attachments: list[Attachment]) -> list[Json]:
    """Embeds as Discord returns them.

    Raises:
        ApiError: 50035 where an ``attachment://`` names no file of the message.
    """
    wrong = FormErrors()
    resolve = resolver(attachments, wrong)
    shown = []
    for index, source in enumerate(embeds):
        embed: Json = {key: value for key, value in source.items() if value not in (None, [], {}, "")}
        embed["type"] = "rich"
        for key in ("image", "thumbnail"):
            if key in embed:
                embed[key] = _media(embed[key]["url"], f"embeds.{index}.{key}.url", resolve)
                embed[key].pop("id", None)
        for key in ("author", "footer"):
            url = embed.get(key, {}).get("icon_url")
            if url:
                found = resolve(url, f"embeds.{index}.{key}.icon_url")
                address = found.url if found else url
                embed[key] = embed[key] | {"icon_url": address, "proxy_icon_url": address}
        embed["fields"] = [
            {"name": field["name"], "value": field["value"], "inline": bool(field.get("inline", False))}
            for field in embed.get("fields", [])
        ]
        if not embed["fields"]:
            del embed["fields"]
        shown.append(embed)
    wrong.raise_if_any()
    return shown


def _media(url: str, path: str, resolve: Callable[[str, str], Attachment | None]) -> Json:
    found = resolve(url, path)
    if found is None:
        return {"url": url, "proxy_url": url}
    media: Json = {"url": found.url, "proxy_url": found.url, "content_type": found.content_type}
    if found.width is not None:
        media |= {"width": found.width, "height": found.height}
    return media


def render_components(components: list[Json], attachments: list[Attachment], ids: Snowflakes) -> list[Json]:
    """Components as Discord returns them, each with its number.

    Raises:
        ApiError: 50035 where an ``attachment://`` names no file of the message.
    """
    wrong = FormErrors()
    resolve = resolver(attachments, wrong)
    shown: list[Json] = copy.deepcopy(components)
    everything = list(walk_components(shown))
    taken = {component["id"] for component in everything if component.get("id")}
    number = 0
    for component in everything:
        if not component.get("id"):
            number += 1
            while number in taken:
                number += 1
            component["id"] = number
        for key in [key for key, value in component.items() if value is None]:
            del component[key]
        # An emoji of Unicode comes back without an id.
        if component.get("emoji"):
            component["emoji"] = {key: value for key, value in component["emoji"].items() if value is not None}
        fill = _FILL.get(ComponentType(component["type"]))
        if fill is not None:
            fill(component, resolve, ids)
    wrong.raise_if_any()
    return shown


def _unfurl(url: str, resolve: Callable[[str, str], Attachment | None], ids: Snowflakes) -> Json:
    found = resolve(url, "components")
    media = {"id": str(ids.next())} | _media(url, "components", lambda *_: found)
    if found is not None:
        media["attachment_id"] = str(found.id)
    return media


def _gallery(component: Json, resolve: Any, ids: Snowflakes) -> None:
    component["items"] = [
        {
            "media": _unfurl(item["media"]["url"], resolve, ids),
            "description": item.get("description"),
            "spoiler": bool(item.get("spoiler", False)),
        }
        for item in component["items"]
    ]


def _thumbnail(component: Json, resolve: Any, ids: Snowflakes) -> None:
    component["media"] = _unfurl(component["media"]["url"], resolve, ids)
    component.setdefault("description", None)
    component.setdefault("spoiler", False)


def _file(component: Json, resolve: Any, ids: Snowflakes) -> None:
    found = resolve(component["file"]["url"], "components")
    component["file"] = _unfurl(component["file"]["url"], resolve, ids)
    component["name"] = found.filename if found else None
    component["size"] = found.size if found else None
    component.setdefault("spoiler", False)


def _select(component: Json, resolve: Any, ids: Snowflakes) -> None:
    component.setdefault("min_values", 1)
    component.setdefault("max_values", 1)


def _separator(component: Json, resolve: Any, ids: Snowflakes) -> None:
    component.setdefault("spacing", 1)
    component.setdefault("divider", True)


def _container(component: Json, resolve: Any, ids: Snowflakes) -> None:
    component.setdefault("accent_color", None)
    component.setdefault("spoiler", False)


_FILL: dict[ComponentType, Callable[[Json, Any, Snowflakes], None]] = {
    ComponentType.MEDIA_GALLERY: _gallery,
    ComponentType.THUMBNAIL: _thumbnail,
    ComponentType.FILE: _file,
    ComponentType.SEPARATOR: _separator,
    ComponentType.CONTAINER: _container,
    **dict.fromkeys(SELECTS, _select),
}
