"""Prompts that the bundled models are known to get right, for people who do not know yet what to type."""

import tomllib
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

from config.catalogue import Catalogue

FILE: Final = Path(__file__).parents[1] / "backends" / "worker" / "models" / "suggestions.toml"
BUNDLED: Final = "tiny"
"""Key of the bundled model that paints."""


class _Suggestions(BaseModel):
    model_config = ConfigDict(frozen=True)

    prompts: tuple[str, ...] = ()


def suggested_prompts(catalogue: Catalogue, file: Path = FILE) -> tuple[str, ...]:
    """For /imagine; none where the bundled model is not used, or came without suggestions."""
    if all(model.key != BUNDLED for model in catalogue) or not file.is_file():
        return ()
    return _Suggestions.model_validate(tomllib.loads(file.read_text("utf-8"))).prompts
