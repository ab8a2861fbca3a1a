"""The witness by which tests show that a refused call changes nothing must notice each change."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from stead_controller.db.session import Database
from tests.support.row_witness import RowWitness


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A database with a table and a row."""
    made = Database(f"sqlite:///{tmp_path / 'stead.sqlite'}")
    execute(made, "CREATE TABLE things (name TEXT PRIMARY KEY)", "INSERT INTO things VALUES ('one')")
    yield made
    made.close()


@pytest.fixture
def witness(database: Database, tmp_path: Path) -> Iterator[RowWitness]:
    """A witness that remembers that row."""
    made = RowWitness(tmp_path / "stead.sqlite")
    made.remember()
    yield made
    made.close()


def execute(database: Database, *statements: str) -> None:
    for statement in statements:
        database.run_blocking(lambda tx, statement=statement: tx.connection.execute(text(statement)))


def test_each_change_is_noticed_with_the_rows_of_then_and_now(database: Database, witness: RowWitness) -> None:
    assert witness.changes() == {}
    execute(database, "INSERT INTO things VALUES ('two')")
    assert witness.changes() == {"things": ([("one",)], [("one",), ("two",)])}
    execute(database, "UPDATE things SET name = 'three' WHERE name = 'one'", "DELETE FROM things WHERE name = 'two'")
    assert witness.changes() == {"things": ([("one",)], [("three",)])}
    execute(database, "CREATE TABLE others (name TEXT)", "INSERT INTO others VALUES (NULL)")
    assert witness.changes()["others"] == ([], [(None,)])


def test_what_was_changed_back_is_as_it_was(database: Database, witness: RowWitness) -> None:
    execute(database, "UPDATE things SET name = 'two'", "UPDATE things SET name = 'one'")
    assert witness.changes() == {}


def test_the_last_state_that_was_remembered_counts(database: Database, witness: RowWitness) -> None:
    execute(database, "UPDATE things SET name = 'two'")
    witness.remember()
    assert witness.changes() == {}
    execute(database, "UPDATE things SET name = 'one'")
    assert witness.changes() == {"things": ([("two",)], [("one",)])}
