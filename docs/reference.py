"""Writes the reference pages from the code: ``python -m docs.reference``. A test keeps them in step."""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from config.catalogue import Catalogue, Offer
from config.parameters import (
    ChoiceParameter,
    IntegerParameter,
    LorasParameter,
    NumberParameter,
    Parameter,
    PictureParameter,
    PresetParameter,
    SizeParameter,
    TextParameter,
)
from config.settings import BACKEND_ORDER, Settings
from domain.money import format_usd

FOLDER = Path(__file__).parent


def pages() -> Mapping[str, str]:
    """File name -> what it should hold."""
    return {"settings.md": settings_page(), "models.md": models_page(Catalogue.load())}


def settings_page() -> str:
    """Every setting with its default and what it is for."""
    rows = []
    for name, field in Settings.model_fields.items():
        rows.append(f"| `{name.upper()}` | {_default(name, field.default)} | {field.description} |")
    return "\n".join(
        [
            "# Settings",
            "",
            "Made from `config/settings.py` by `python -m docs.reference`.",
            "",
            "Set these in the environment, in a file `.env` in the working folder, or in a TOML file that",
            "`EASEL_CONFIG` names (same names, e.g. `easel_daily_budget_usd = 5`). The environment wins over `.env`,",
            "and `.env` over TOML.",
            "An unknown `EASEL_…` name or a bad value ends the start with one line and exit status 2.",
            "",
            "| setting | default | what it is |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def _default(name: str, value: object) -> str:
    match value:
        case None | SecretStr():
            return "none"
        case ():
            return "none"
        case tuple():
            return f"`{','.join(map(str, value))}`"
        case bool():
            return f"`{str(value).lower()}`"
        case _:
            return f"`{value}`"


def models_page(catalogue: Catalogue) -> str:
    """Every model, its offers, and what each takes."""
    lines = [
        "# Models and offers",
        "",
        "Made from `config/models/*.toml` by `python -m docs.reference`.",
        "",
        "A *model* is what people name in `/imagine` and `/edit`; an *offer* is one way to get it. Which offers are",
        "used is up to what is configured: `worker` is Easel's own GPU worker, the others are hosted services.",
        f"Backends are tried in the order of `EASEL_BACKENDS` (default `{','.join(BACKEND_ORDER)}`).",
    ]
    for model in catalogue:
        lines += ["", f"## {model.name}", "", f"`{model.key}` · /{model.kind.value} · {model.summary}"]
        for offer in model.offers:
            lines += ["", f"### {model.name} at {offer.backend}", "", _price(offer), ""]
            lines += ["| option | takes | default | sent as |", "|---|---|---|---|"]
            for option, parameter in offer.parameters.items():
                sent = ", ".join(f"`{field}`" for field in parameter.fields)
                lines.append(f"| `{option.value}` | {_takes(parameter)} | {_parameter_default(parameter)} | {sent} |")
            if offer.constants:
                lines += ["", "Always sent: " + ", ".join(_constants(offer.constants)) + "."]
    return "\n".join([*lines, ""])


def _price(offer: Offer) -> str:
    price = f"at most {format_usd(offer.price)} a picture" if offer.is_paid else "free: it runs on your own hardware"
    return f"`{offer.target}` · {price} · usually about {offer.seconds:g} s"


def _takes(parameter: Parameter) -> str:
    match parameter:
        case TextParameter():
            return f"text, at most {parameter.max_length} characters" if parameter.max_length else "text"
        case IntegerParameter():
            return f"{parameter.minimum}–{parameter.maximum}"
        case NumberParameter():
            return f"{parameter.minimum:g}–{parameter.maximum:g}"
        case ChoiceParameter():
            return _some(parameter.values)
        case PresetParameter():
            return _some(parameter.presets)
        case LorasParameter():
            return "LoRAs, each `name`, `name=0.8` or `name=0.8/high`"
        case SizeParameter():
            if parameter.choices:
                return _some(map(str, parameter.choices))
            grid = f" in steps of {parameter.step}" if parameter.step > 1 else ""
            return f"{parameter.minimum}–{parameter.maximum} a side{grid}"
        case PictureParameter():
            return "a picture"


def _some(words: Iterable[str]) -> str:
    listed = [f"`{word}`" for word in words]
    return ", ".join(listed) if len(listed) <= 16 else f"{', '.join(listed[:12])} … ({len(listed)} in all)"


def _parameter_default(parameter: Parameter) -> str:
    value: Any = getattr(parameter, "default", None)
    return "–" if value is None else f"`{value}`"


def _constants(constants: Mapping[str, object]) -> list[str]:
    return [
        f"`{name}` = `{str(value).lower() if isinstance(value, bool) else value}`" for name, value in constants.items()
    ]


def main() -> int:
    """Write the pages; returns 0."""
    for name, text in pages().items():
        (FOLDER / name).write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
