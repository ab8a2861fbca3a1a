"""Filters as SQL mean what they mean in memory, whatever is in the values."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import BigInteger, column, literal, select
from sqlalchemy.dialects import postgresql

from stead_controller.db.types import UtcTime
from stead_controller.request import conditions
from stead_controller.request.filters import Filter
from stead_controller.resources.instances import instance_filters
from stead_controller.resources.network import network_interfaces, subnets
from stead_controller.resources.storage import volume_status, volumes
from tests.support.rows import CLOUD, NOW, caller

SPECIAL = st.text(alphabet="ab*?\\%_[]^-'\" \n", max_size=8)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=300, deadline=None
)
@given(value=SPECIAL, patterns=st.lists(SPECIAL, min_size=1, max_size=3))
def test_text_matches_as_in_memory(database, value, patterns):
    asked = Filter("x", tuple(patterns))
    clause = conditions.text(literal(value))(asked)
    found = database.run_blocking(lambda tx: tx.session.scalar(select(clause)))
    assert bool(found) == asked.matches(value)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=100, deadline=None
)
@given(value=st.integers(0, 10**12), pattern=st.text(alphabet="0123456789*?", max_size=6))
def test_numbers_match_as_their_text(database, value, pattern):
    clause = conditions.number(literal(value, BigInteger))(Filter("x", (pattern,)))
    found = database.run_blocking(lambda tx: tx.session.scalar(select(clause)))
    plain = pattern.isdigit() and pattern.lstrip("0") == str(value).lstrip("0") and pattern != ""
    assert bool(found) == (plain or Filter("x", (pattern,)).matches(str(value)))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-03-04T05:06:07.089Z", True),
        ("2026-03-04T06:06:07.089+01:00", True),
        ("2026-03-04T05:06:07.089", False),
        ("2026-03-04T05:06:07.090Z", False),
        ("2026-03-04T05:06:07.089?", True),
        ("2026-03-04*", True),
        ("*.089Z", True),
        ("2026-03-05*", False),
        ("tomorrow", False),
    ],
)
def test_times(database, value, expected):
    clause = conditions.instant(literal(NOW, UtcTime))(Filter("x", (value,)))
    assert bool(database.run_blocking(lambda tx: tx.session.scalar(select(clause)))) is expected


@pytest.mark.parametrize(
    "table",
    [
        instance_filters.conditions(CLOUD),
        network_interfaces.conditions(CLOUD),
        volumes.conditions(CLOUD),
        volume_status.FILTERS,
        subnets.conditions(caller("111111111111"), CLOUD),
    ],
)
def test_every_condition_is_sql_for_postgresql_too(table):
    for name, condition in table.items():
        clause = condition(Filter(name, ("a*", "1", "true", "2026-03-04T05:06:07.089Z")))
        text = str(select(column("x")).where(clause).compile(dialect=postgresql.dialect()))
        assert "GLOB" not in text, name
        assert "strftime" not in text, name


def test_what_is_alike_for_all_needs_no_sql():
    assert str(conditions.constant("xen")(Filter("hypervisor", ("x*",)))) == "true"
    assert str(conditions.NEVER(Filter("platform", ("*",)))) == "false"
