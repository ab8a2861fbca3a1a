"""Makes the newest schema in an empty database at once, as all migrations, one after the other, would."""

from typing import Any

from sqlalchemy import Computed, Connection, Engine, Index, insert, text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateIndex, CreateTable

from stead_controller.db.tables import Base, Revision
from stead_controller.db.tables.base import complete_for_postgresql

_OF_FEW_ROWS = ("public", "route_table_id", "principal_id", "accepter_account_id", "account_id")
"""By these columns the rows of one account are found, or those that are for all."""

_VERSION = "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL CONSTRAINT alembic_version_pkc PRIMARY KEY)"


@compiles(Computed, "postgresql")
def _stored(computed: Computed, compiler: Any, **_options: Any) -> str:
    """Store what is computed, as migrations do: SQLAlchemy would do so too, with a warning about later servers."""
    return f"GENERATED ALWAYS AS ({compiler.sql_compiler.process(computed.sqltext, literal_binds=True)}) STORED"


def make(engine: Engine, revision: str) -> None:
    """Make all tables in one transaction, and note the revision; an interrupted one leaves the database empty."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # which its driver leaves to the caller, see `session.py`
        make_within(connection, revision)
        connection.commit()


def make_within(connection: Connection, revision: str) -> None:
    """Make all tables in the transaction of a connection, which the caller commits, and note the revision."""
    complete_for_postgresql(Base.metadata)
    for table in Base.metadata.sorted_tables:
        connection.execute(CreateTable(table))
        for index in sorted(table.indexes, key=_when):
            connection.execute(CreateIndex(index))
    connection.execute(insert(Revision).values(id=1, value=1))  # all changes of hosts' states count it up
    connection.exec_driver_sql(_VERSION)
    connection.execute(text("INSERT INTO alembic_version VALUES (:revision)"), {"revision": revision})


def _when(index: Index) -> tuple[int, str]:
    """Order indexes: where two serve, SQLite takes the one that was made later, which must be that of fewer rows."""
    first = next(iter(index.columns)).name
    return _OF_FEW_ROWS.index(first) if first in _OF_FEW_ROWS else -1, str(index.name)
