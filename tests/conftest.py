"""What all tests share."""

import os

import pytest
from hypothesis import HealthCheck, settings

from tests.building import Clock

# The tests run in several processes, and torch reads this when it is imported: one thread for each process.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Bots and workers are started some two hundred times; their modules are compiled once.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# The same examples at every run; few enough that the whole suite stays quick.
settings.register_profile(
    "easel",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
# Others at every run, and many: HYPOTHESIS_PROFILE=thorough, for who has changed what they test.
settings.register_profile("thorough", settings.get_profile("easel"), derandomize=False, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "easel"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long ones first: then no process is left alone with one at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still until a test moves it."""
    return Clock()
