"""Rows of accounts are found by account and id, so that none of another account's is read (FAULTS 40)."""

import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import Boolean, select
from sqlalchemy.dialects import sqlite

from stead_controller.db.tables import Base
from stead_controller.db.types import UtcTime
from tests.support import empty_database
from tests.support.plans import steps_for_any_account

# Ids that nobody asks for: only rows that were found otherwise lead to them, or names do.
NOT_ASKED_FOR = {
    "audit_events",
    "iam_groups",
    "iam_instance_profiles",
    "iam_mfa_devices",
    "iam_oidc_providers",
    "iam_policies",
    "iam_roles",
    "iam_users",
    "reservations",
}
# By these SQLite finds rows first, whenever their index was made.
FOUND_OTHERWISE = {
    ("internet_gateways", "vpc_id"),  # unique, as the next two: of one row at most
    ("public_addresses", "allocation_id"),
    ("route_table_associations", "subnet_id"),
    ("vpc_peering_connections", "accepter_vpc_id"),  # a peering is two accounts'
    ("vpc_peering_connections", "requester_vpc_id"),
    ("vpc_peering_connections", "status"),
}
TABLES = sorted(
    name
    for name, table in Base.metadata.tables.items()
    if {"id", "account_id"} <= set(table.columns.keys()) and name not in NOT_ASKED_FOR
)


@pytest.fixture(scope="module")
def connection(tmp_path_factory):
    path = empty_database.write(tmp_path_factory.mktemp("plans") / "stead.sqlite")
    with closing(sqlite3.connect(path)) as opened:
        yield opened


def read_of_other_accounts(connection, query):
    compiled = query.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    return list(steps_for_any_account(connection, str(compiled), ()))


@pytest.mark.parametrize("name", TABLES)
def test_only_rows_of_the_account_are_read(connection, name):
    table = Base.metadata.tables[name]
    mine = table.c.account_id == "1"
    for ids in (["a"], ["a", "b"], [str(number) for number in range(1000)]):
        for entity in (table, table.c.id):
            assert read_of_other_accounts(connection, select(entity).where(table.c.id.in_(ids), mine)) == []
    assert read_of_other_accounts(connection, select(table).where(table.c.id == "a", mine)) == []


@pytest.mark.parametrize("name", ["images", "snapshots"])
def test_only_public_rows_are_read(connection, name):
    table = Base.metadata.tables[name]
    for ids in (["a"], ["a", "b"]):
        query = select(table).where(table.c.id.in_(ids), table.c.public.is_(True), table.c.state == "available")
        assert read_of_other_accounts(connection, query) == []


def test_a_row_that_is_found_by_its_id_alone_is_noticed(connection):
    table = Base.metadata.tables["instances"]
    for query in (
        select(table).where(table.c.id == "a"),
        select(table.c.id).where(table.c.id == "a", (table.c.account_id == "1") | table.c.monitoring),
        select(table).where(table.c.state == "running", table.c.image_id == "a"),
        select(table.c.user_data),
    ):
        (step,) = read_of_other_accounts(connection, query)
        assert step.startswith(("SEARCH instances", "SCAN instances"))


# An account's index and another of one column serve as well: SQLite takes the one that was made later. A migration that
# makes a table anew (`batch_alter_table`) or adds an index to it must make the account's anew after it, as
# `e4b87a20c5d3` does (`house/test_migrations.py`).
OTHER_COLUMNS = sorted(
    (name, column)
    for name, table in Base.metadata.tables.items()
    if name not in NOT_ASKED_FOR
    if any(next(iter(index.columns)).name == "account_id" for index in table.indexes)
    for column in {next(iter(index.columns)).name for index in table.indexes} - {"account_id"}
    if (name, column) not in FOUND_OTHERWISE
    and not isinstance(table.c[column].type, UtcTime)  # nobody names an instant
)


@pytest.mark.parametrize(("name", "column"), OTHER_COLUMNS)
def test_an_accounts_index_was_made_after_all_others(connection, name, column):
    """By another column alone, such as its VPC, rows of anybody would be read."""
    table = Base.metadata.tables[name]
    value = True if isinstance(table.c[column].type, Boolean) else "a"
    query = select(table).where(table.c[column] == value, table.c.account_id == "1")
    assert read_of_other_accounts(connection, query) == [], "make the account's index anew, after this column's"
