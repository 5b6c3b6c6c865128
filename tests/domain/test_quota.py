"""Windows of time: where a day, a week, a month and the last hour begin and end, in every zone."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.quota import BUCKET_SECONDS, Amounts, Rule, Subject, Unit, Usage, Window, bucket, window_end, window_start

CALENDAR = [Window.DAY, Window.WEEK, Window.MONTH]
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Santiago",  # skips midnight in spring
    "Africa/Cairo",  # skips midnight in spring, repeats 23:00 in autumn
    "America/Havana",  # repeats 00:00 in autumn
    "Asia/Kathmandu",  # 5:45
    "Australia/Lord_Howe",  # half an hour of summer time
    "Pacific/Apia",
    "Pacific/Chatham",  # 12:45
]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def local(text: str, zone: str, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)


def bounds(window: Window, now: datetime, zone: str) -> tuple[datetime, datetime | None]:
    return window_start(window, now, ZoneInfo(zone)), window_end(window, now, ZoneInfo(zone))


@pytest.mark.parametrize(
    ("window", "now", "start", "end"),
    [
        (Window.DAY, "2026-03-11T00:00:00", "2026-03-11T00:00", "2026-03-12T00:00"),
        (Window.DAY, "2026-03-11T23:59:59.999999", "2026-03-11T00:00", "2026-03-12T00:00"),
        (Window.WEEK, "2026-03-09T00:00:00", "2026-03-09T00:00", "2026-03-16T00:00"),
        (Window.WEEK, "2026-03-15T23:59:59", "2026-03-09T00:00", "2026-03-16T00:00"),
        (Window.WEEK, "2026-01-01T12:00:00", "2025-12-29T00:00", "2026-01-05T00:00"),
        (Window.MONTH, "2026-01-31T12:00:00", "2026-01-01T00:00", "2026-02-01T00:00"),
        (Window.MONTH, "2026-02-28T23:00:00", "2026-02-01T00:00", "2026-03-01T00:00"),
        (Window.MONTH, "2028-02-29T23:00:00", "2028-02-01T00:00", "2028-03-01T00:00"),
        (Window.DAY, "2028-02-28T23:00:00", "2028-02-28T00:00", "2028-02-29T00:00"),
        (Window.DAY, "2028-02-29T23:00:00", "2028-02-29T00:00", "2028-03-01T00:00"),
        (Window.MONTH, "2026-12-31T23:59:59", "2026-12-01T00:00", "2027-01-01T00:00"),
        (Window.DAY, "2026-12-31T23:59:59", "2026-12-31T00:00", "2027-01-01T00:00"),
    ],
)
def test_the_calendar(window: Window, now: str, start: str, end: str) -> None:
    assert bounds(window, utc(now), "UTC") == (utc(start), utc(end))


@pytest.mark.parametrize(
    ("zone", "now", "hours"),
    [
        ("Europe/Berlin", "2026-03-29T12:00", 23),
        ("Europe/Berlin", "2026-10-25T12:00", 25),
        ("America/New_York", "2026-03-08T12:00", 23),
        ("America/New_York", "2026-11-01T12:00", 25),
        ("America/Santiago", "2026-09-06T12:00", 23),
        ("America/Santiago", "2026-04-04T12:00", 25),
        ("Africa/Cairo", "2026-04-24T12:00", 23),
        ("Africa/Cairo", "2026-10-29T12:00", 25),
        ("America/Havana", "2026-03-08T12:00", 23),
        ("America/Havana", "2026-11-01T12:00", 25),
        ("Australia/Lord_Howe", "2026-10-04T12:00", 23.5),
        ("Australia/Lord_Howe", "2026-04-05T12:00", 24.5),
    ],
)
def test_days_on_which_the_clocks_change(zone: str, now: str, hours: float) -> None:
    start, end = bounds(Window.DAY, local(now, zone), zone)
    assert end is not None
    assert end - start == timedelta(hours=hours)


@pytest.mark.parametrize(
    ("zone", "day"),
    [("America/Santiago", "2026-09-06"), ("Africa/Cairo", "2026-04-24"), ("America/Havana", "2026-03-08")],
)
def test_a_day_whose_midnight_is_skipped_begins_with_its_first_moment(zone: str, day: str) -> None:
    start = window_start(Window.DAY, local(f"{day}T12:00", zone), ZoneInfo(zone))
    assert start.astimezone(ZoneInfo(zone)).isoformat()[:16] == f"{day}T01:00"
    before = (start - timedelta(microseconds=1)).astimezone(ZoneInfo(zone))
    assert before.date().isoformat() < day
    assert window_end(Window.DAY, before.astimezone(UTC), ZoneInfo(zone)) == start


def test_a_midnight_that_comes_twice_begins_the_day_the_first_time() -> None:
    zone = ZoneInfo("America/Havana")
    first, second = (local("2026-11-01T00:30", "America/Havana", fold) for fold in (0, 1))
    assert second - first == timedelta(hours=1)
    assert (
        window_start(Window.DAY, first, zone) == window_start(Window.DAY, second, zone) == first - timedelta(minutes=30)
    )


def test_the_repeated_last_hour_belongs_to_the_day_before() -> None:
    zone = ZoneInfo("Africa/Cairo")
    again = local("2026-10-29T23:30", "Africa/Cairo", fold=1)
    assert window_start(Window.DAY, again, zone) == local("2026-10-29T00:00", "Africa/Cairo")
    assert window_end(Window.DAY, again, zone) == local("2026-10-30T00:00", "Africa/Cairo")


def test_a_day_that_a_country_left_out() -> None:
    # Samoa went from the 29th to the 31st of December 2011.
    start, end = bounds(Window.DAY, local("2011-12-29T12:00", "Pacific/Apia"), "Pacific/Apia")
    assert end is not None
    assert end - start == timedelta(hours=24)
    assert window_start(Window.DAY, end, ZoneInfo("Pacific/Apia")) == end


def test_a_change_of_zone_moves_the_window_and_nothing_else() -> None:
    now = utc("2026-03-11T02:00")
    assert bounds(Window.DAY, now, "America/New_York") == (utc("2026-03-10T04:00"), utc("2026-03-11T04:00"))
    assert bounds(Window.DAY, now, "Asia/Tokyo") == (utc("2026-03-10T15:00"), utc("2026-03-11T15:00"))


def test_the_hour_rolls_in_quarters() -> None:
    for now, start in (
        ("2026-03-11T12:00:00", "2026-03-11T11:00"),
        ("2026-03-11T12:14:59", "2026-03-11T11:00"),
        ("2026-03-11T12:15:00", "2026-03-11T11:15"),
    ):
        assert bounds(Window.HOUR, utc(now), "Europe/Berlin") == (utc(start), None)


moments = st.integers(1_325_376_000_000_000, 2_114_380_800_000_000).map(  # the years 2012 to 2036
    lambda microseconds: datetime.fromtimestamp(0, UTC) + timedelta(microseconds=microseconds)
)


@given(moments, st.sampled_from(CALENDAR), st.sampled_from(ZONES))
def test_windows_follow_each_other_without_a_gap(now: datetime, window: Window, zone: str) -> None:
    start, end = bounds(window, now, zone)
    assert end is not None
    assert start <= now < end
    assert bounds(window, start, zone) == (start, end)
    assert window_end(window, start - timedelta(microseconds=1), ZoneInfo(zone)) == start
    assert window_start(window, end, ZoneInfo(zone)) == end


@given(moments, st.sampled_from(list(Window)), st.sampled_from(ZONES))
def test_windows_begin_and_end_with_a_quarter_of_an_hour(now: datetime, window: Window, zone: str) -> None:
    for moment in bounds(window, now, zone):
        assert moment is None or moment.timestamp() % BUCKET_SECONDS == 0


@given(moments)
def test_the_rolling_hour_is_never_shorter_than_an_hour(now: datetime) -> None:
    length = now - window_start(Window.HOUR, now, ZoneInfo("UTC"))
    assert timedelta(hours=1) <= length < timedelta(hours=1, minutes=15)


@given(moments)
def test_a_bucket_holds_its_moment(now: datetime) -> None:
    assert 0 <= now.timestamp() - bucket(now) * BUCKET_SECONDS < BUCKET_SECONDS


def test_what_is_left_is_never_negative() -> None:
    rule = Rule(1, 1, Subject.GUILD, 1, Unit.IMAGES, Window.DAY, 10)
    assert Usage(rule, used=4, held=3, granted=0, resets_at=None).left == 3
    assert Usage(rule, used=9, held=3, granted=0, resets_at=None).left == 0
    usage = Usage(rule, used=9, held=3, granted=5, resets_at=None)
    assert (usage.allowed, usage.left) == (15, 3)


def test_amounts_in_the_smallest_part_of_their_unit() -> None:
    amounts = Amounts(images=2, gpu_milliseconds=1500, micro_usd=12_000)
    assert [amounts.of(unit) for unit in (Unit.IMAGES, Unit.GPU_SECONDS, Unit.MONEY)] == [2, 1500, 12_000]
