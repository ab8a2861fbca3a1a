"""Rows of accounts are found by account and id, so that none of another account's is read (FAULTS 40)."""

import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import select
from sqlalchemy.dialects import sqlite

from stead_controller.db.migrate import upgrade
from stead_controller.db.session import Database
from stead_controller.db.tables import Base
from tests.support.plans import steps_of_anybody

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
TABLES = sorted(
    name
    for name, table in Base.metadata.tables.items()
    if {"id", "account_id"} <= set(table.columns.keys()) and name not in NOT_ASKED_FOR
)


@pytest.fixture(scope="module")
def connection(tmp_path_factory):
    path = tmp_path_factory.mktemp("plans") / "stead.sqlite"
    database = Database(f"sqlite:///{path}")
    upgrade(database.engine)
    database.close()
    with closing(sqlite3.connect(path)) as opened:
        yield opened


def read_of_anybody(connection, query):
    compiled = query.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    return list(steps_of_anybody(connection, str(compiled), ()))


@pytest.mark.parametrize("name", TABLES)
def test_only_rows_of_the_account_are_read(connection, name):
    table = Base.metadata.tables[name]
    mine = table.c.account_id == "1"
    for ids in (["a"], ["a", "b"], [str(number) for number in range(1000)]):
        for entity in (table, table.c.id):
            assert read_of_anybody(connection, select(entity).where(table.c.id.in_(ids), mine)) == []
    assert read_of_anybody(connection, select(table).where(table.c.id == "a", mine)) == []


@pytest.mark.parametrize("name", ["images", "snapshots"])
def test_only_public_rows_are_read(connection, name):
    table = Base.metadata.tables[name]
    for ids in (["a"], ["a", "b"]):
        query = select(table).where(table.c.id.in_(ids), table.c.public.is_(True), table.c.state == "available")
        assert read_of_anybody(connection, query) == []


def test_a_row_that_is_found_by_its_id_alone_is_noticed(connection):
    table = Base.metadata.tables["instances"]
    for query in (
        select(table).where(table.c.id == "a"),
        select(table.c.id).where(table.c.id == "a", (table.c.account_id == "1") | table.c.monitoring),
        select(table).where(table.c.state == "running", table.c.image_id == "a"),
        select(table.c.user_data),
    ):
        (step,) = read_of_anybody(connection, query)
        assert step.startswith(("SEARCH instances", "SCAN instances"))


@pytest.mark.parametrize("name", ["instances", "network_interfaces", "subnets"])
def test_a_table_that_was_made_anew_has_the_index_of_accounts_last(connection, name):
    """Of two that serve as well SQLite takes the one made later: by VPC alone it would read rows of anybody."""
    query = "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL ORDER BY rowid"
    made = [each for (each,) in connection.execute(query, (name,))]
    assert made[-1] == f"ix_{name}_account_id_id"
    others = [number for number, each in enumerate(made) if not each.startswith(f"ix_{name}_account")]
    assert max(others) < min(number for number in range(len(made)) if number not in others)
