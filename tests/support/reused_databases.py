"""SQLite databases that tests use one after the other, with the same rows at the beginning of each.

A new one costs each test 4 ms of a processor for each connection, which reads the whole schema, and a test of the API
has four of them. So a database stays, with its connections, and gets back the rows that it had at first.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stead_controller.db.session import Database
from tests.support import databases
from tests.support.memory_folders import Folders
from tests.support.row_witness import RowWitness

_TABLES: Final = "SELECT name FROM main.sqlite_master WHERE type = 'table'"


@dataclass(frozen=True, slots=True)
class Lent:
    """A database that a test has, and what tells which rows have changed, unless it is on a server."""

    database: Database
    witness: RowWitness | None


class Reused:
    """A database, its witness, and what brings its first rows back."""

    def __init__(self, folder: Path, content: bytes) -> None:
        """Write the content to a file in the folder, and open it."""
        self.path = folder / "stead.sqlite"
        self.path.write_bytes(content)
        self.database = databases.opened(self.path)
        self.witness = RowWitness(self.path)
        self._known = dict(vars(self.database))
        template = folder / "template.sqlite"
        template.write_bytes(content)
        self._own = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, cached_statements=1000)
        self._own.execute("PRAGMA synchronous=OFF")
        self._own.execute("ATTACH ? AS template", (str(template),))
        self._schema = self._version()
        self._commits = self._data_version()
        tables = [name for (name,) in self._own.execute(_TABLES)]
        filled = [name for name in tables if self._own.execute(f"SELECT 1 FROM template.{name} LIMIT 1").fetchall()]
        empty = sorted({*tables} - {*filled})
        self._with_rows = " UNION ALL ".join(
            f"SELECT '{name}' WHERE EXISTS (SELECT 1 FROM main.{name})" for name in empty
        )
        self._rows = {name: self._all_of("template", name) for name in filled}
        self._columns = {name: self._columns_of(name) for name in filled}

    def is_as_before(self) -> bool:
        """Bring the first rows back; tell whether all else is as it was, so that another test may use it."""
        self.witness.forget()
        self.database._listeners.clear()
        self.database._heralds.clear()
        known, now = ({**each, "_writer": None} for each in (self._known, vars(self.database)))
        writer = self.database._writer
        if (
            known != now
            or self.database._readers._shutdown
            or any(self.database._asked.values())
            or (writer is not None and writer.in_transaction())
        ):
            return False
        if self._data_version() == self._commits:  # nobody else has committed anything
            return True
        with contextlib.closing(self._own.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            for (name,) in cursor.execute(self._with_rows).fetchall():
                cursor.execute(f"DELETE FROM main.{name}")
            for name, rows in self._rows.items():
                if self._all_of("main", name) != rows:
                    cursor.execute(f"DELETE FROM main.{name}")
                    columns = self._columns[name]
                    cursor.execute(
                        f"INSERT INTO main.{name} ({columns}) SELECT {columns} FROM template.{name} ORDER BY rowid"
                    )
            cursor.execute("COMMIT")
        self._commits = self._data_version()
        return self._version() == self._schema

    def close(self) -> None:
        """Close all connections."""
        self._own.close()
        self.witness.close()
        self.database.close()

    def _version(self) -> int:
        [(version,)] = self._own.execute("PRAGMA main.schema_version")
        return int(version)

    def _data_version(self) -> int:
        """A number that commits of other connections change (SQLite, PRAGMA data_version)."""
        [(version,)] = self._own.execute("PRAGMA main.data_version")
        return int(version)

    def _columns_of(self, name: str) -> str:
        """All but generated ones (https://www.sqlite.org/pragma.html#pragma_table_info)."""
        return ", ".join(f'"{row[1]}"' for row in self._own.execute(f"PRAGMA main.table_info({name})"))

    def _all_of(self, schema: str, name: str) -> list[tuple[object, ...]]:
        return self._own.execute(f"SELECT * FROM {schema}.{name} ORDER BY rowid").fetchall()


class ReusedDatabases:
    """All of a process; those of the same content take turns."""

    def __init__(self, folder: Path) -> None:
        """Keep the files in an empty folder."""
        self._folders = Folders(folder)
        self._free: dict[bytes, list[Reused]] = {}
        self._lent: dict[Database, Reused] = {}

    @contextlib.contextmanager
    def lent(self, content: bytes) -> Iterator[Lent]:
        """Give a database of this content that nobody else uses meanwhile; a new one on a server."""
        if databases.SERVER:
            with _on_server(self._folders.mktemp("template") / "name", content) as database:
                yield Lent(database, None)
            return
        free = self._free.setdefault(content, [])
        reused = free.pop() if free else Reused(self._folders.mktemp("database"), content)
        self._lent[reused.database] = reused
        usable = False
        try:
            yield Lent(reused.database, reused.witness)
            usable = reused.is_as_before()
        finally:
            del self._lent[reused.database]
            if usable:
                free.append(reused)
            else:
                reused.close()

    def witness_of(self, database: Database) -> RowWitness:
        """Return the witness of a database that is lent."""
        return self._lent[database].witness

    def close(self) -> None:
        """Close all that nobody uses."""
        for free in self._free.values():
            while free:
                free.pop().close()


@contextlib.contextmanager
def _on_server(path: Path, content: bytes) -> Iterator[Database]:
    path.write_bytes(content)
    database = databases.opened(path)
    try:
        yield database
    finally:
        database.close()
        databases.dropped(path)
