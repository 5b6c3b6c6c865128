"""What all tests share."""

import pytest
from hypothesis import HealthCheck, settings

from tests.building import Clock

# The same examples at every run; few enough that the whole suite stays quick.
settings.register_profile(
    "easel",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("easel")


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still until a test moves it."""
    return Clock()
