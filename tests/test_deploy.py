"""The files under deploy/: what can be checked without Docker and systemd, namely every path, command and name."""

import configparser
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from command_line.parser import parser
from config.settings import Settings

ROOT = Path(__file__).parents[1]
DOCKERFILES = sorted((ROOT / "deploy" / "docker").glob("*.Dockerfile"))
UNITS = sorted((ROOT / "deploy" / "systemd").glob("easel*.service"))
COMPOSE = ROOT / "deploy" / "docker" / "compose.yaml"
SETTINGS = {name.upper() for name in Settings.model_fields} | {"EASEL_CONFIG"}


def instructions(path: Path) -> list[tuple[str, str]]:
    text = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE))
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in text.splitlines()) if word]


def settings_named_in(text: str) -> set[str]:
    return set(re.findall(r"\bEASEL_[A-Z_]+\b", text))


def unit(path: Path) -> configparser.RawConfigParser:
    class Sections(dict[str, Any]):
        """systemd lets a key come several times; the values are kept on lines of their own."""

        def __setitem__(self, key: str, value: Any) -> None:
            if key in self and isinstance(value, list):
                self[key].extend(value)
            else:
                super().__setitem__(key, value)

    parser = configparser.RawConfigParser(dict_type=Sections, strict=False, interpolation=None, comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(path.read_text())
    return parser


def bot_arguments(command: str) -> list[str]:
    """What follows bot.py, to the end of the command."""
    words = shlex.split(re.sub(r"\$\([^)]*\)", "now", command))
    if words[:2] == ["/bin/sh", "-c"]:
        words = shlex.split(words[2])
    return words[words.index("bot.py") + 1 :]


@pytest.mark.parametrize(
    "path", [*DOCKERFILES, *UNITS, ROOT / "deploy" / "docker" / "compose.yaml"], ids=lambda p: p.name
)
def test_every_setting_exists(path: Path) -> None:
    assert settings_named_in(path.read_text()) <= SETTINGS


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_a_dockerfile_copies_what_there_is_and_starts_a_command_that_there_is(path: Path) -> None:
    found = instructions(path)
    for word, rest in found:
        if word == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source
    [entry] = [rest for word, rest in found if word == "ENTRYPOINT"]
    [command] = [rest for word, rest in found if word == "CMD"]
    assert entry == '["python", "bot.py"]'
    parser().parse_args(yaml.safe_load(command))
    # Not as root, and ended by a signal that the bot knows.
    assert ("USER", "easel") in found
    assert ("STOPSIGNAL", "SIGTERM") in found


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_a_dockerfile_says_that_nobody_has_built_it(path: Path) -> None:
    assert "Unbuilt" in path.read_text()


def test_the_bots_image_needs_no_torch_and_has_every_room_that_the_bot_imports() -> None:
    [path] = [path for path in DOCKERFILES if path.stem == "bot"]
    rooms = {rest.split()[0] for word, rest in instructions(path) if word == "COPY" and not rest.startswith("--from")}
    code = "import bot, sys; print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=300
    ).stdout.split()
    ours = {room.name for room in ROOT.iterdir() if (room / "__init__.py").is_file()}
    assert ours & set(loaded) <= rooms
    assert not {"torch", "diffusers", "transformers", "ray", "starlette", "uvicorn"} & set(loaded)


def test_compose_builds_our_files_and_names_volumes_that_there_are() -> None:
    folder, compose = COMPOSE.parent, yaml.safe_load(COMPOSE.read_text())
    for service in compose["services"].values():
        context = (folder / service["build"]["context"]).resolve()
        assert context == ROOT
        assert (context / service["build"]["dockerfile"]).is_file()
        for volume in service["volumes"]:
            assert volume.partition(":")[0] in compose["volumes"]
        for name in service.get("depends_on", []):
            assert name in compose["services"]


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_a_unit_starts_a_command_that_there_is(path: Path) -> None:
    service = unit(path)["Service"]
    arguments = bot_arguments(service["ExecStart"].replace("%%", "%"))
    parser().parse_args(arguments)
    assert service["WorkingDirectory"] == "/opt/easel"
    assert service["User"] == "easel"
    assert service["UMask"] == "0077"


def test_a_setting_that_has_to_be_mended_is_not_tried_again_and_a_stop_has_its_grace() -> None:
    service = unit(ROOT / "deploy" / "systemd" / "easel.service")["Service"]
    assert service["RestartPreventExitStatus"] == "2"
    assert int(service["TimeoutStopSec"]) > Settings.model_validate({}).easel_grace_seconds


def test_nothing_secret_and_nothing_useless_is_sent_to_docker() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert {".env", ".git", "data", ".venv"} <= set(ignored)
