"""Where settings are read from: environment variables, ``.env``, or a TOML file named by ``EASEL_CONFIG``.

The environment wins over ``.env``, ``.env`` over the TOML file. Names are the same everywhere. A name that
begins with ``EASEL_`` and is unknown is an error: a misspelt setting must not be silently ignored.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic import ValidationError

from config.catalogue import first_problem
from config.settings import Settings
from domain.errors import Code, OperatorError


def load(environment: Mapping[str, str] | None = None, folder: Path | None = None) -> Settings:
    """Read the settings.

    ``environment`` defaults to the process's own, ``folder`` (where ``.env`` lies) to the working folder.
    Raises OperatorError (SETTING_INVALID) that names the setting and what is wrong with it.
    """
    given = os.environ if environment is None else environment
    dotenv = _read_dotenv((folder or Path.cwd()) / ".env")
    named_file = given.get("EASEL_CONFIG") or dotenv.get("EASEL_CONFIG")
    values: dict[str, Any] = _read_toml(Path(named_file)) if named_file else {}
    for source in (dotenv, given):
        values |= {name.lower(): value for name, value in source.items() if value != ""}
    values.pop("easel_config", None)
    for name in values:
        if name.startswith("easel_") and name not in Settings.model_fields:
            raise OperatorError(Code.SETTING_INVALID, setting=name.upper(), problem="there is no such setting")
    try:
        return Settings(**{name: value for name, value in values.items() if name in Settings.model_fields})
    except ValidationError as error:
        name = str(error.errors(include_input=False)[0]["loc"][0]).upper()
        problem = first_problem(error).partition(": ")[2].removeprefix("Value error, ")
        raise OperatorError(Code.SETTING_INVALID, setting=name, problem=problem) from None


def _read_dotenv(path: Path) -> dict[str, str]:
    try:
        return {name: value for name, value in dotenv_values(path).items() if value is not None}
    except (OSError, UnicodeDecodeError) as error:
        raise OperatorError(Code.SETTING_INVALID, setting=".env", problem=f"{path} cannot be read") from error


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise OperatorError(Code.SETTING_INVALID, setting="EASEL_CONFIG", problem=f"{path} cannot be read") from error
    except tomllib.TOMLDecodeError as error:
        raise OperatorError(Code.SETTING_INVALID, setting="EASEL_CONFIG", problem=f"{path}: {error}") from error
    lowered = {name.lower(): value for name, value in values.items()}
    for name in lowered:
        if name not in Settings.model_fields:
            raise OperatorError(Code.SETTING_INVALID, setting=name.upper(), problem="there is no such setting")
    return lowered
