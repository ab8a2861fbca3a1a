"""Filters as SQL mean what they mean in memory, whatever is in the values."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import BigInteger, Boolean, column, literal, select
from sqlalchemy.dialects import postgresql

from stead_controller.db.tables import Subnet, Tag, Vpc
from stead_controller.db.types import UtcTime
from stead_controller.request import conditions
from stead_controller.request.filters import Filter
from stead_controller.resources.instances import instance_filters
from stead_controller.resources.network import network_interfaces, subnets
from stead_controller.resources.storage import volume_status, volumes
from tests.support.examples import examples
from tests.support.rows import CLOUD, NOW, caller

SPECIAL = st.text(alphabet="ab*?\\%_[]^-'\" \n", max_size=8)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=examples(60),
    deadline=None,
)
@given(value=SPECIAL, patterns=st.lists(SPECIAL, min_size=1, max_size=3))
def test_text_matches_as_in_memory(database, value, patterns):
    asked = Filter("x", tuple(patterns))
    clause = conditions.text(literal(value))(asked)
    found = database.run_blocking(lambda tx: tx.session.scalar(select(clause)))
    assert bool(found) == asked.matches(value)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=examples(40),
    deadline=None,
)
@given(value=st.integers(0, 10**12), pattern=st.text(alphabet="0123456789*?", max_size=6))
def test_numbers_match_as_their_text(database, value, pattern):
    clause = conditions.number(literal(value, BigInteger))(Filter("x", (pattern,)))
    found = database.run_blocking(lambda tx: tx.session.scalar(select(clause)))
    plain = pattern.isdigit() and pattern.lstrip("0") == str(value).lstrip("0") and pattern != ""
    assert bool(found) == (plain or Filter("x", (pattern,)).matches(str(value)))


@pytest.mark.parametrize(
    ("value", "asked", "expected"),
    [
        (5, "5", True),
        (5, "05", True),
        (5, "6", False),
        (5, "x", False),
        (5, "\N{SUPERSCRIPT FIVE}", False),  # digits to Python, no numbers to EC2
        (5, "\N{ARABIC-INDIC DIGIT FIVE}", False),
        (10**18 - 1, "9" * 18, True),
        (5, "9" * 19, False),  # more than the database's integers hold
    ],
)
def test_exact_numbers_are_decimal(database, value, asked, expected):
    clause = conditions.number(literal(value, BigInteger))(Filter("x", (asked,)))
    assert bool(database.run_blocking(lambda tx: tx.session.scalar(select(clause)))) is expected


@pytest.mark.parametrize(
    ("values", "found"), [(("true",), {True}), (("f*",), {False}), (("true", "false"), {True, False}), (("on",), set())]
)
def test_a_flag_is_true_or_false(run, values, found):
    def holds(tx, value):
        return tx.session.scalar(select(conditions.flag(literal(value, Boolean))(Filter("x", values))))

    assert {value for value in (True, False) if run(holds, value)} == found


@pytest.fixture(params=[0, 1, 2, 10])
def find_tagged(request, monkeypatch, world, run):
    """Give the names of those subnets of the first account, A and B, for which a filter of tags holds.

    The second account tags A as well. Found are two at most, which count as few or as many.
    """
    monkeypatch.setattr(conditions, "FEW", request.param)
    first, second = world.one.subnet_ids
    one, other = world.one.caller.account_id, world.other.caller.account_id
    tags = [
        (first, "Team", "a", one),
        (second, "Team", "b", one),
        (second, "Name", "a", one),
        (first, "Her", "z", other),
    ]
    kind = {"resource_type": "subnet"}
    rows = [Tag(resource_id=of, key=key, value=value, account_id=by, **kind) for of, key, value, by in tags]
    run(lambda tx: tx.session.add_all(rows))

    def find(asked):
        def select_subnets(tx):
            where = conditions.clauses(tx, world.one.caller, [asked], {}, Subnet.id)
            return set(tx.session.scalars(select(Subnet.id).where(*where)))

        return {{first: "A", second: "B"}[each] for each in run(select_subnets)}

    return find


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("tag:Team", "a", "A"),
        ("tag:Team", "*", "AB"),
        ("tag:Name", "*", "B"),
        ("tag:Name", "b", ""),
        ("tag:Her", "z", ""),
        ("tag-key", "Name", "B"),
        ("tag-key", "a", ""),
        ("tag-key", "Her", ""),
        ("tag-value", "a", "AB"),
        ("tag-value", "Team", ""),
        ("tag-value", "z", ""),
    ],
)
def test_tags_are_the_callers_whether_few_or_many_have_them(find_tagged, name, value, found):
    assert find_tagged(Filter(name, (value,))) == set(found)


def test_rows_of_another_account_are_not_searched(world, run):
    own = {"vpc-id": conditions.own(Subnet.vpc_id, Vpc.id, Vpc.account_id)}
    anyone = {"vpc-id": conditions.among(Subnet.vpc_id, select(Vpc.id), conditions.text(Vpc.id))}

    def subnets_of(tx, vpc_id, table):
        where = conditions.clauses(tx, world.one.caller, [Filter("vpc-id", (vpc_id,))], table, Subnet.id)
        return set(tx.session.scalars(select(Subnet.id).where(*where)))

    assert run(subnets_of, world.one.vpc_id, own) == set(world.one.subnet_ids)
    assert run(subnets_of, world.other.vpc_id, own) == set()
    assert run(subnets_of, world.other.vpc_id, anyone) == set(world.other.subnet_ids)


def test_a_row_is_found_by_rows_of_another_table(world, run):
    exists = conditions.exists_where(select(Vpc.id).where(Vpc.id == Subnet.vpc_id), conditions.text(Vpc.id))
    clause = exists(Filter("x", (world.one.vpc_id,)))
    found = run(lambda tx: set(tx.session.scalars(select(Subnet.id).where(clause))))
    assert found == set(world.one.subnet_ids)


def test_all_filters_must_hold_for_what_is_no_row():
    facts = {"a": ["1", "2"], "b": ["3"]}
    assert conditions.holds([Filter("a", ("2",)), Filter("b", ("3",))], facts)
    assert not conditions.holds([Filter("a", ("2",)), Filter("b", ("4",))], facts)
    assert conditions.holds([], facts)


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


def test_no_values_match_nothing():
    for kind in (conditions.text, conditions.number, conditions.instant):
        assert str(kind(column("a"))(Filter("x", ()))) == "false"


def test_what_is_alike_for_all_needs_no_sql():
    assert str(conditions.constant("xen")(Filter("hypervisor", ("x*",)))) == "true"
    assert str(conditions.NEVER(Filter("platform", ("*",)))) == "false"
