"""Settings: where they come from, which source wins, and what a wrong one is told."""

from decimal import Decimal
from pathlib import Path

import pytest

from config.loading import load
from config.settings import BACKEND_ORDER, Settings
from domain.errors import Code, OperatorError

SECRET = "wsk_live_0123456789abcdef"


def refused(environment: dict[str, str], folder: Path) -> tuple[str, str]:
    """The setting that is named and what is said of it."""
    with pytest.raises(OperatorError) as caught:
        load(environment, folder)
    assert caught.value.code is Code.SETTING_INVALID
    return str(caught.value.parameters["setting"]), str(caught.value.parameters["problem"])


def test_defaults(tmp_path: Path) -> None:
    settings = load({}, tmp_path)
    assert settings == Settings.model_validate({})
    assert settings.discord_token is None
    assert settings.easel_data_dir == Path("data")
    assert settings.easel_backends == BACKEND_ORDER
    assert settings.easel_default_daily_images == 50
    assert settings.easel_max_queued_per_user == 10
    assert settings.daily_budget == 5_000_000
    assert str(settings.discord_api_url) == "https://discord.com/api/v10"
    assert str(settings.wavespeed_base_url).rstrip("/") == "https://api.wavespeed.ai"
    assert str(settings.runware_base_url) == "https://api.runware.ai/v1"


def test_the_environment_wins_over_dotenv_and_dotenv_over_toml(tmp_path: Path) -> None:
    (tmp_path / "easel.toml").write_text(
        "easel_max_queued = 1\neasel_default_daily_images = 1\neasel_pictures_days = 1\n"
        'easel_backends = ["runware"]\neasel_guilds = [5, 6]\n'
    )
    (tmp_path / ".env").write_text(
        f"EASEL_CONFIG={tmp_path / 'easel.toml'}\nEASEL_MAX_QUEUED=2\nEASEL_DEFAULT_DAILY_IMAGES=2\n"
    )
    settings = load({"EASEL_MAX_QUEUED": "3"}, tmp_path)
    assert settings.easel_max_queued == 3
    assert settings.easel_default_daily_images == 2
    assert settings.easel_pictures_days == 1
    assert settings.easel_backends == ("runware",)
    assert settings.easel_guilds == (5, 6)


def test_names_are_the_same_in_any_case(tmp_path: Path) -> None:
    (tmp_path / "easel.toml").write_text("EASEL_MAX_QUEUED = 7\n")
    assert load({"easel_config": "", "EASEL_CONFIG": str(tmp_path / "easel.toml")}, tmp_path).easel_max_queued == 7
    assert load({"Easel_Max_Queued": "8"}, tmp_path).easel_max_queued == 8


def test_an_empty_value_is_none(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("EASEL_MAX_QUEUED=9\nEASEL_LOCAL_MODEL=tiny\n")
    settings = load({"EASEL_MAX_QUEUED": "", "DISCORD_TOKEN": ""}, tmp_path)
    assert settings.easel_max_queued == 9
    assert settings.discord_token is None


def test_lists_are_separated_by_commas(tmp_path: Path) -> None:
    settings = load({"EASEL_GUILDS": " 1, 2 ,", "EASEL_BACKENDS": "runware, worker"}, tmp_path)
    assert settings.easel_guilds == (1, 2)
    assert settings.easel_backends == ("runware", "worker")


def test_the_budget_is_exact(tmp_path: Path) -> None:
    settings = load({"EASEL_DAILY_BUDGET_USD": "0.1"}, tmp_path)
    assert settings.easel_daily_budget_usd == Decimal("0.1")
    assert settings.daily_budget == 100_000


@pytest.mark.parametrize(
    ("urls", "price", "known"),
    [
        ("http://127.0.0.1:8000", None, 0),
        ("http://gpu-1:8000,http://10.0.0.7/v1,http://[fd00::1]:80", None, 0),
        ("http://easel.internal,http://gpu.home.arpa:80", None, 0),
        ("https://api.example.com/v1", None, None),
        ("http://gpu-1:8000,https://203.0.114.9", None, None),
        ("https://api.example.com/v1", "0", 0),
        ("http://gpu-1:8000", "0.03", 30_000),
    ],
)
def test_what_pictures_of_a_server_cost_is_known_in_ones_own_network_alone(
    tmp_path: Path, urls: str, price: str | None, known: int | None
) -> None:
    given = {"OPENAI_IMAGES_URL": urls} | ({"OPENAI_IMAGES_PRICE_USD": price} if price is not None else {})
    assert load(given, tmp_path).openai_images_price == known


def test_what_others_have_in_their_environment_is_none_of_our_business(tmp_path: Path) -> None:
    assert load({"PATH": "/bin", "DISCORD_SOMETHING": "x", "HOME": "/"}, tmp_path) == Settings.model_validate({})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DISCORD_API_URL", "discord.com"),
        ("DISCORD_API_URL", "ftp://discord.com"),
        ("DISCORD_GATEWAY_URL", "https://gateway.discord.gg"),
        ("EASEL_GUILDS", "one"),
        ("EASEL_GUILDS", "1;2"),
        ("EASEL_BACKENDS", "worker,midjourney"),
        ("EASEL_BACKENDS", "worker,worker"),
        ("EASEL_WORKER_URL", "unix:///tmp/socket"),
        ("EASEL_DEFAULT_DAILY_IMAGES", "-1"),
        ("EASEL_DEFAULT_DAILY_IMAGES", "1.5"),
        ("EASEL_DEFAULT_DAILY_IMAGES", "many"),
        ("EASEL_DIRECT_MESSAGES", "on"),
        ("EASEL_DIRECT_MESSAGES", "paid"),
        ("EASEL_DIRECT_DAILY_IMAGES", "-1"),
        ("EASEL_DAILY_BUDGET_USD", "-0.01"),
        ("EASEL_DAILY_BUDGET_USD", "NaN"),
        ("EASEL_DAILY_BUDGET_USD", "Infinity"),
        ("EASEL_DAILY_BUDGET_USD", "5 USD"),
        ("EASEL_MAX_QUEUED_PER_USER", "0"),
        ("EASEL_MAX_QUEUED", "0"),
        ("EASEL_PICTURES_GB", "0"),
        ("EASEL_PICTURES_GB", "nan"),
        ("EASEL_PICTURES_GB", "inf"),
        ("EASEL_PICTURES_DAYS", "0"),
        ("EASEL_GRACE_SECONDS", "-1"),
        ("EASEL_GRACE_SECONDS", "nan"),
        ("EASEL_LOG_LEVEL", "LOUD"),
        ("WAVESPEED_BASE_URL", "not a url"),
        ("WAVESPEED_SLOTS", "0"),
        ("WAVESPEED_OUTPUT_HOSTS", "https://cdn.example.com"),
        ("WAVESPEED_SYNC", "perhaps"),
        ("RUNWARE_SLOTS", "many"),
        ("RUNWARE_DELIVERY", "pigeon"),
        ("RUNWARE_TTL_SECONDS", "59"),
        ("EASEL_MAX_QUEUD", "5"),
        ("EASEL_", "5"),
    ],
)
def test_a_wrong_value_is_named_in_one_line(tmp_path: Path, name: str, value: str) -> None:
    setting, problem = refused({name: value, "WAVESPEED_API_KEY": SECRET, "DISCORD_TOKEN": SECRET}, tmp_path)
    assert setting == name
    assert problem
    assert len(problem.splitlines()) == 1
    assert SECRET not in problem


@pytest.mark.parametrize("name", ["WAVESPEED_API_KEY", "RUNWARE_API_KEY"])
@pytest.mark.parametrize("key", [f"{SECRET}\n{SECRET}", f"{SECRET} ", f"{SECRET}é"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_shown(tmp_path: Path, name: str, key: str) -> None:
    setting, problem = refused({name: key}, tmp_path)
    assert setting == name
    assert SECRET not in problem


def test_secrets_do_not_print(tmp_path: Path) -> None:
    names = ("DISCORD_TOKEN", "EASEL_WORKER_TOKEN", "WAVESPEED_API_KEY", "RUNWARE_API_KEY")
    settings = load(dict.fromkeys(names, SECRET), tmp_path)
    assert SECRET not in repr(settings)
    assert SECRET not in str(settings.model_dump())
    assert SECRET not in settings.model_dump_json()


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("easel_max_queud = 1", "EASEL_MAX_QUEUD"),
        ("colour = 'red'", "COLOUR"),
        ("easel_config = 'other.toml'", "EASEL_CONFIG"),
        ("[easel]\nmax_queued = 1", "EASEL"),
        ("easel_max_queued = 'many'", "EASEL_MAX_QUEUED"),
        ("easel_backends = 5", "EASEL_BACKENDS"),
        ("discord_token = 5", "DISCORD_TOKEN"),
        ("easel_max_queued = ", "EASEL_CONFIG"),
        ("easel_max_queued = 1\neasel_max_queued = 2", "EASEL_CONFIG"),
    ],
)
def test_a_file_that_is_not_right(tmp_path: Path, text: str, setting: str) -> None:
    (tmp_path / "easel.toml").write_text(text)
    named, problem = refused({"EASEL_CONFIG": str(tmp_path / "easel.toml")}, tmp_path)
    assert named == setting
    assert len(problem.splitlines()) == 1


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    assert refused({"EASEL_CONFIG": str(tmp_path / "none.toml")}, tmp_path)[0] == "EASEL_CONFIG"
    assert refused({"EASEL_CONFIG": str(tmp_path)}, tmp_path)[0] == "EASEL_CONFIG"
    (tmp_path / "latin.toml").write_bytes(b"easel_local_model = '\xe9'")
    assert refused({"EASEL_CONFIG": str(tmp_path / "latin.toml")}, tmp_path)[0] == "EASEL_CONFIG"


def test_a_dotenv_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"EASEL_LOCAL_MODEL=\xe9\n")
    assert refused({}, tmp_path)[0] == ".env"
