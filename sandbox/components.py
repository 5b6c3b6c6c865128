"""Components of messages and modals: what may stand where, and how much of it.

https://discord.com/developers/docs/components/reference
"""

from __future__ import annotations

from collections.abc import Callable

from sandbox.errors import FormErrors
from sandbox.model import SELECTS, ComponentType, Json, walk_components

ROWS = 5
V2_COMPONENTS = 40
V2_CHARACTERS = 4000
CUSTOM_ID = 100
LABEL = 80
SELECTED = 25
TEXT = 4000

_CONTAINER_CHILDREN = {
    ComponentType.ACTION_ROW,
    ComponentType.TEXT_DISPLAY,
    ComponentType.SECTION,
    ComponentType.MEDIA_GALLERY,
    ComponentType.SEPARATOR,
    ComponentType.FILE,
}
_TOP_V2 = _CONTAINER_CHILDREN | {ComponentType.CONTAINER}
_IN_LABEL = {
    ComponentType.TEXT_INPUT,
    ComponentType.FILE_UPLOAD,
    ComponentType.RADIO_GROUP,
    ComponentType.CHECKBOX_GROUP,
    ComponentType.CHECKBOX,
    *SELECTS,
}


def check_message_components(components: object, is_v2: bool, wrong: FormErrors) -> None:
    """Note what is wrong with a message's components."""
    if not isinstance(components, list):
        wrong.add("components", "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
        return
    allowed = _TOP_V2 if is_v2 else {ComponentType.ACTION_ROW}
    if not is_v2:
        wrong.count("components", components, most=ROWS)
    for index, component in enumerate(components):
        _check(f"components.{index}", component, allowed, wrong)
    if wrong:
        return
    everything = list(walk_components(components))
    if is_v2:
        if len(everything) > V2_COMPONENTS:
            wrong.add("components", "COMPONENT_LIMIT", f"Total number of components exceeds {V2_COMPONENTS}.")
        texts = sum(len(c["content"]) for c in everything if c["type"] == ComponentType.TEXT_DISPLAY)
        if texts > V2_CHARACTERS:
            wrong.add(
                "components",
                "COMPONENT_DISPLAYABLE_TEXT_SIZE_EXCEEDED",
                f"Displayable text in components exceeds {V2_CHARACTERS} characters.",
            )
    _check_unique(everything, "components", wrong)


def check_modal(modal: Json) -> None:
    """Check the modal of an interaction callback of type 9.

    Raises:
        ApiError: 50035 with everything that is wrong.
    """
    wrong = FormErrors()
    wrong.length("data.title", modal.get("title", ""), most=45, least=1)
    wrong.length("data.custom_id", modal.get("custom_id", ""), most=CUSTOM_ID, least=1)
    components = modal.get("components")
    wrong.count("data.components", components, least=1, most=5)
    allowed = {ComponentType.ACTION_ROW, ComponentType.LABEL, ComponentType.TEXT_DISPLAY}
    for index, component in enumerate(components if isinstance(components, list) else []):
        path = f"data.components.{index}"
        if component.get("type") == ComponentType.ACTION_ROW:
            for number, child in enumerate(component.get("components") or []):
                _check(f"{path}.components.{number}", child, {ComponentType.TEXT_INPUT}, wrong, in_row=True)
        else:
            _check(path, component, allowed, wrong)
    if not wrong and isinstance(components, list):
        _check_unique(list(walk_components(components)), "data.components", wrong)
    wrong.raise_if_any()


def _check_unique(components: list[Json], path: str, wrong: FormErrors) -> None:
    for key in ("custom_id", "id"):
        seen: set[object] = set()
        for component in components:
            value = component.get(key)
            if value and value in seen:
                wrong.add(
                    path,
                    f"COMPONENT_{key.upper()}_DUPLICATED",
                    f"Component {key.replace('_', ' ')} cannot be duplicated",
                )
            seen.add(value)


def _check(
    path: str, component: object, allowed: set[ComponentType], wrong: FormErrors, *, in_row: bool = False
) -> None:
    kind = component.get("type") if isinstance(component, dict) else None
    if not isinstance(component, dict) or kind not in allowed:
        choices = ", ".join(str(int(choice)) for choice in sorted(allowed))
        wrong.add(f"{path}.type", "UNION_TYPE_CHOICES", f'Value of field "type" must be one of ({choices}).')
        return
    check = _CHECKS.get(ComponentType(kind))
    if check is not None:
        check(path, component, wrong)
    if kind == ComponentType.TEXT_INPUT and in_row:
        wrong.length(f"{path}.label", component.get("label", ""), most=45, least=1)


def _children(path: str, component: Json, allowed: set[ComponentType], wrong: FormErrors, *, most: int) -> None:
    children = component.get("components")
    wrong.count(f"{path}.components", children, least=1, most=most)
    for index, child in enumerate(children if isinstance(children, list) else []):
        _check(f"{path}.components.{index}", child, allowed, wrong)


def _row(path: str, row: Json, wrong: FormErrors) -> None:
    kinds = [child.get("type") for child in row.get("components") or [] if isinstance(child, dict)]
    selects = [kind for kind in kinds if kind in SELECTS]
    _children(path, row, {ComponentType.BUTTON, *SELECTS}, wrong, most=1 if selects else 5)


def _button(path: str, button: Json, wrong: FormErrors) -> None:
    style = button.get("style")
    if style not in range(1, 7):
        wrong.add(f"{path}.style", "BASE_TYPE_CHOICES", "Value must be one of {1, 2, 3, 4, 5, 6}.")
    if button.get("label") is not None:
        wrong.length(f"{path}.label", button["label"], most=LABEL)
    if not button.get("label") and not button.get("emoji") and style != 6:
        wrong.add(path, "BUTTON_COMPONENT_LABEL_REQUIRED", "A button needs a label or an emoji")
    if style == 5:
        wrong.length(f"{path}.url", button.get("url") or "", most=512, least=1)
        if button.get("custom_id") is not None:
            wrong.add(
                path,
                "BUTTON_COMPONENT_CUSTOM_ID_URL_MUTUALLY_EXCLUSIVE",
                "custom_id and url exclude each other",
            )
    elif style != 6:
        _custom_id(path, button, wrong)


def _custom_id(path: str, component: Json, wrong: FormErrors) -> None:
    wrong.length(f"{path}.custom_id", component.get("custom_id") or "", most=CUSTOM_ID, least=1)


def _select(path: str, select: Json, wrong: FormErrors) -> None:
    for value in select.get("default_values") or ():
        # Taken as a number, too, and given back as a text, as all snowflakes.
        value["id"] = str(value["id"])
    _custom_id(path, select, wrong)
    if select.get("placeholder") is not None:
        wrong.length(f"{path}.placeholder", select["placeholder"], most=150)
    least, most = select.get("min_values"), select.get("max_values")
    for key, value, lowest in (("min_values", least, 0), ("max_values", most, 1)):
        if value is not None and not lowest <= value <= SELECTED:
            wrong.add(f"{path}.{key}", "NUMBER_TYPE_MAX", f"int value should be between {lowest} and {SELECTED}.")
    chosen = len(select.get("default_values") or ())
    if select.get("type") == ComponentType.STRING_SELECT:
        _options(path, select, wrong, most=SELECTED)
        options = select.get("options") or []
        chosen = sum(bool(option.get("default")) for option in options)
        if most is not None and most > len(options):
            wrong.add(f"{path}.max_values", "NUMBER_TYPE_MAX", f"There are but {len(options)} options.")
    if chosen > (1 if most is None else most):
        wrong.add(path, "SELECT_COMPONENT_TOO_MANY_DEFAULT_VALUES", "More are chosen than may be.")


def _options(path: str, component: Json, wrong: FormErrors, *, most: int) -> None:
    options = component.get("options")
    wrong.count(f"{path}.options", options, least=1, most=most)
    seen: set[object] = set()
    for index, option in enumerate(options if isinstance(options, list) else []):
        place = f"{path}.options.{index}"
        wrong.length(f"{place}.label", option.get("label", ""), most=100, least=1)
        wrong.length(f"{place}.value", option.get("value", ""), most=100, least=1)
        if option.get("description") is not None:
            wrong.length(f"{place}.description", option["description"], most=100)
        if option.get("value") in seen:
            wrong.add(
                f"{place}.value",
                "SELECT_COMPONENT_OPTION_VALUE_DUPLICATED",
                "The specified option value is already used",
            )
        seen.add(option.get("value"))


def _text_input(path: str, component: Json, wrong: FormErrors) -> None:
    _custom_id(path, component, wrong)
    longest = component.get("max_length") or TEXT
    for key, least in (("min_length", 0), ("max_length", 1)):
        if component.get(key) is not None and not least <= component[key] <= TEXT:
            wrong.add(f"{path}.{key}", "NUMBER_TYPE_MAX", f"int value should be between {least} and {TEXT}.")
    for key, most in (("placeholder", 100), ("value", longest)):
        if component.get(key) is not None:
            wrong.length(f"{path}.{key}", component[key], most=most)


def _section(path: str, section: Json, wrong: FormErrors) -> None:
    _children(path, section, {ComponentType.TEXT_DISPLAY}, wrong, most=3)
    accessory = section.get("accessory")
    _check(f"{path}.accessory", accessory, {ComponentType.BUTTON, ComponentType.THUMBNAIL}, wrong)


def _text_display(path: str, component: Json, wrong: FormErrors) -> None:
    wrong.length(f"{path}.content", component.get("content", ""), most=V2_CHARACTERS, least=1)


def _media(path: str, media: object, wrong: FormErrors) -> None:
    url = media.get("url") if isinstance(media, dict) else None
    if not isinstance(url, str) or not url.startswith(("http://", "https://", "attachment://")):
        wrong.add(f"{path}.url", "URL_TYPE_INVALID_SCHEME", "Scheme must be one of ('http', 'https', 'attachment').")


def _gallery(path: str, gallery: Json, wrong: FormErrors) -> None:
    items = gallery.get("items")
    wrong.count(f"{path}.items", items, least=1, most=10)
    for index, item in enumerate(items if isinstance(items, list) else []):
        _media(f"{path}.items.{index}.media", item.get("media"), wrong)
        if item.get("description") is not None:
            wrong.length(f"{path}.items.{index}.description", item["description"], most=1024)


def _thumbnail(path: str, component: Json, wrong: FormErrors) -> None:
    _media(f"{path}.media", component.get("media"), wrong)


def _file(path: str, component: Json, wrong: FormErrors) -> None:
    url = (component.get("file") or {}).get("url", "")
    if not str(url).startswith("attachment://") and "/attachments/" not in str(url):
        wrong.add(f"{path}.file.url", "URL_TYPE_INVALID_SCHEME", "Scheme must be one of ('attachment').")


def _container(path: str, container: Json, wrong: FormErrors) -> None:
    _children(path, container, _CONTAINER_CHILDREN, wrong, most=V2_COMPONENTS)


def _label(path: str, label: Json, wrong: FormErrors) -> None:
    wrong.length(f"{path}.label", label.get("label", ""), most=45, least=1)
    if label.get("description") is not None:
        wrong.length(f"{path}.description", label["description"], most=100)
    _check(f"{path}.component", label.get("component"), _IN_LABEL, wrong)


def _group(path: str, group: Json, wrong: FormErrors) -> None:
    _custom_id(path, group, wrong)
    _options(path, group, wrong, most=10)


_CHECKS: dict[ComponentType, Callable[[str, Json, FormErrors], None]] = {
    ComponentType.ACTION_ROW: _row,
    ComponentType.BUTTON: _button,
    **dict.fromkeys(SELECTS, _select),
    ComponentType.TEXT_INPUT: _text_input,
    ComponentType.SECTION: _section,
    ComponentType.TEXT_DISPLAY: _text_display,
    ComponentType.THUMBNAIL: _thumbnail,
    ComponentType.MEDIA_GALLERY: _gallery,
    ComponentType.FILE: _file,
    ComponentType.CONTAINER: _container,
    ComponentType.LABEL: _label,
    ComponentType.FILE_UPLOAD: _custom_id,
    ComponentType.RADIO_GROUP: _group,
    ComponentType.CHECKBOX_GROUP: _group,
    ComponentType.CHECKBOX: _custom_id,
}
