"""The door, as a person and a supervisor see it: real processes, exit statuses, one line on the terminal."""

import asyncio
import os
import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from backends.base import OutcomeUnknown
from db.database import Database
from db.folder import exclusive
from docs.page import whole_bot
from domain.errors import Code, EaselError
from domain.job import JobState
from tests.building import open_house
from tests.doubles import ScriptedBackend

ROOT = Path(__file__).parents[1]
MEGABYTE = 2**20


def run_bot(*arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """``bot.py`` with nothing set but what is given."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("EASEL_", "DISCORD_", "WAVESPEED_", "RUNWARE_"))
    }
    return subprocess.run(
        [sys.executable, "bot.py", *arguments],
        cwd=ROOT,
        env={**environment, **settings},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "settings", "named"),
    [
        (["run"], {}, "DISCORD_TOKEN"),
        (["run"], {"EASEL_MAX_QUEUED": "many"}, "EASEL_MAX_QUEUED"),
        (["run"], {"EASEL_BACKENDS": "worker,typo"}, "EASEL_BACKENDS"),
        (["run"], {"EASEL_DALY_BUDGET_USD": "3"}, "EASEL_DALY_BUDGET_USD"),
        (["run"], {"EASEL_CONFIG": "/nowhere/easel.toml"}, "EASEL_CONFIG"),
        (["run"], {"DISCORD_TOKEN": "x", "EASEL_IMAGINE_MODEL": "nothing"}, "EASEL_IMAGINE_MODEL"),
        (
            ["run"],
            {"DISCORD_TOKEN": "x", "EASEL_LOCAL_EDIT_MODEL": "tiny", "EASEL_IMAGINE_MODEL": "tiny-edit"},
            "EASEL_IMAGINE_MODEL",
        ),
        (["run"], {"DISCORD_TOKEN": "x", "EASEL_DATA_DIR": "/proc/easel"}, "EASEL_DATA_DIR"),
        (["run"], {"DISCORD_TOKEN": "canary", "DISCORD_API_URL": "http://127.0.0.1:1/api/v10"}, "cannot be reached"),
        (["worker"], {}, "EASEL_LOCAL_MODEL"),
        (["worker", "--host", "0.0.0.0"], {"EASEL_LOCAL_MODEL": "tiny"}, "EASEL_WORKER_TOKEN"),
        (["backup", "/nowhere/copy.db"], {"EASEL_DATA_DIR": "/nowhere"}, "EASEL_DATA_DIR"),
        (["correct", "abc", "--charged", "0.02"], {"EASEL_DATA_DIR": "/nowhere"}, "EASEL_DATA_DIR"),
    ],
)
def test_what_the_operator_has_to_mend_is_one_line_that_names_it(
    arguments: list[str], settings: dict[str, str], named: str, tmp_path: Path
) -> None:
    ended = run_bot(*arguments, **{"EASEL_DATA_DIR": str(tmp_path / "data"), **settings})
    told = [line for line in ended.stderr.splitlines() if line.startswith("easel: ")]
    assert ended.returncode == (1 if named == "cannot be reached" else 2)
    assert len(told) == 1, ended.stderr
    assert named in told[0]
    assert "Traceback" not in ended.stderr
    assert "canary" not in ended.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["paint"],
        ["sandbox", "--port", "high"],
        ["backup"],
        ["ban"],
        ["ban", "alice"],
        ["unban", "-5"],
        ["correct", "abc"],
        ["correct", "abc", "--charged", "-1"],
        ["correct", "abc", "--charged", "much"],
    ],
)
def test_bad_usage_ends_with_2_and_no_traceback(arguments: list[str]) -> None:
    ended = run_bot(*arguments)
    assert ended.returncode == 2
    assert "usage:" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_two_bots_on_one_data_folder_are_refused(tmp_path: Path) -> None:
    with whole_bot(tmp_path / "bot.log", EASEL_DATA_DIR=str(tmp_path / "data")):
        ended = run_bot("run", DISCORD_TOKEN="x", EASEL_DATA_DIR=str(tmp_path / "data"))
    assert ended.returncode == 2
    assert "another" in ended.stderr.lower()


def test_backup_copies_a_database_that_is_in_use_and_overwrites_nothing(tmp_path: Path) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy.db"
    with whole_bot(tmp_path / "bot.log", EASEL_DATA_DIR=str(data)):
        first = run_bot("backup", str(copy), EASEL_DATA_DIR=str(data))
        second = run_bot("backup", str(copy), EASEL_DATA_DIR=str(data))
        nowhere = run_bot("backup", str(tmp_path / "nowhere" / "copy.db"), EASEL_DATA_DIR=str(data))
    assert first.returncode == 0
    assert second.returncode == 2
    assert nowhere.returncode == 2
    assert "no folder" in nowhere.stderr
    with sqlite3.connect(copy) as connection:
        assert connection.execute("SELECT count(*) FROM boots").fetchone() == (1,)


def test_pause_and_resume_hold_for_a_bot_that_runs_and_for_one_that_comes(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for _ in range(2):
        paused = run_bot("pause", EASEL_DATA_DIR=str(data))
        assert paused.returncode == 0
        assert "still painted" in paused.stdout
        assert (data / "paused").is_file()
    for _ in range(2):
        assert run_bot("resume", EASEL_DATA_DIR=str(data)).returncode == 0
        assert not (data / "paused").exists()


def test_people_are_banned_everywhere_while_the_bot_runs(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with exclusive(data) as path:
        asyncio.run(_made(path))
        environment = {"EASEL_DATA_DIR": str(data)}
        assert run_bot("ban", "80351110224678912", "--reason", "spam\nspam", **environment).returncode == 0
        assert run_bot("bans", **environment).stdout == "80351110224678912 spam spam\n"
        assert run_bot("reports", **environment).stdout == ""
        assert run_bot("unban", "80351110224678912", **environment).returncode == 0
        again = run_bot("unban", "80351110224678912", **environment)
        assert (again.returncode, "Traceback" in again.stderr) == (1, False)
        assert run_bot("bans", **environment).stdout == ""


async def _made(path: Path) -> None:
    async with Database.open(path):
        pass


def test_drain_pauses_and_says_when_the_bot_can_be_stopped(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with whole_bot(tmp_path / "bot.log", EASEL_DATA_DIR=str(data)):
        drained = run_bot("drain", EASEL_DATA_DIR=str(data))
        assert drained.returncode == 0, drained.stderr
        assert drained.stdout.endswith("until `bot.py resume`.\n")
        assert (data / "paused").is_file()


def test_drain_does_not_wait_where_nobody_paints(tmp_path: Path) -> None:
    data = tmp_path / "data"
    asyncio.run(leave_a_waiting_job(data))
    drained = run_bot("drain", EASEL_DATA_DIR=str(data))
    assert drained.returncode == 1
    assert "Jobs left: 1. No bot runs" in drained.stderr


async def leave_a_waiting_job(folder: Path) -> None:
    """A data folder with one job that waits."""
    async with open_house(folder, working=False) as house:
        await house.ask()


def test_a_lost_call_is_corrected_while_the_bot_runs(tmp_path: Path) -> None:
    data = tmp_path / "data"
    asyncio.run(leave_an_unknown_call(data))
    with sqlite3.connect(data / "easel.db") as connection:
        ((job_id,),) = connection.execute("SELECT id FROM jobs").fetchall()
    with whole_bot(tmp_path / "bot.log", EASEL_DATA_DIR=str(data)):
        corrected = run_bot("correct", job_id, "--charged", "0.004", EASEL_DATA_DIR=str(data))
        missing = run_bot("correct", "nothing", "--charged", "1", EASEL_DATA_DIR=str(data))
    assert corrected.returncode == 0, corrected.stderr
    assert corrected.stdout == f"Job {job_id} counts $0.004 now; it counted $0.01.\n"
    assert missing.returncode == 2
    assert "no job of that id" in missing.stderr
    with sqlite3.connect(data / "easel.db") as connection:
        assert connection.execute("SELECT sum(used) FROM ledger WHERE unit = 'money'").fetchone() == (4_000,)


async def leave_an_unknown_call(folder: Path) -> None:
    """A data folder with one paid job whose answer was lost."""
    lost = OutcomeUnknown(EaselError(Code.OUTCOME_UNKNOWN))
    async with open_house(folder, {"wavespeed": ScriptedBackend("wavespeed", [lost], resumes=True)}) as house:
        await house.reached((await house.ask("paid")).id, JobState.UNKNOWN)


def test_the_doctor_finds_what_is_missing_and_says_what_to_do(tmp_path: Path) -> None:
    ended = run_bot("doctor", EASEL_DATA_DIR=str(tmp_path / "data"))
    assert ended.returncode == 1
    assert "DISCORD_TOKEN is not set" in ended.stdout
    assert "EASEL_LOCAL_MODEL" in ended.stdout


def children_of_this_test() -> tuple[psutil.Process, list[psutil.Process]]:
    """The bot of a sandbox run, and its children: the sandbox and the worker."""
    (bot,) = [child for child in psutil.Process().children() if {"bot.py", "sandbox"} <= set(child.cmdline())]
    return bot, bot.children()


def test_a_run_has_no_torch_in_the_bot_stays_small_and_ends_with_all_its_children(tmp_path: Path) -> None:
    with whole_bot(tmp_path / "bot.log"):  # SIGTERM ends it, and the status has to be 0
        bot, children = children_of_this_test()
        loaded = {Path(region.path).name for region in bot.memory_maps()}
        assert not [name for name in loaded if re.match(r"libtorch|libc10", name)]
        assert bot.memory_info().rss < 150 * MEGABYTE
        assert len(children) == 2
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []


def test_importing_the_bot_imports_no_torch() -> None:
    program = "import sys, bot; sys.exit(any(m in sys.modules for m in ('torch', 'diffusers', 'transformers')))"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


def kill_a_run(log: Path, left: list[psutil.Process]) -> None:
    """Start the bot and kill it alone."""
    with whole_bot(log):
        bot, children = children_of_this_test()
        left += children
        bot.send_signal(signal.SIGKILL)


def test_a_killed_bot_leaves_no_worker_and_no_sandbox_behind(tmp_path: Path) -> None:
    left: list[psutil.Process] = []
    with pytest.raises(AssertionError, match="the bot ended with"):
        kill_a_run(tmp_path / "bot.log", left)
    assert len(left) == 2
    _, alive = psutil.wait_procs(left, timeout=60)
    assert alive == []
