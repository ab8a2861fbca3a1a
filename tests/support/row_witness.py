"""Tells which rows of a SQLite database have changed, and reads none where nobody has committed."""

import sqlite3
from functools import cached_property
from pathlib import Path

type Table = list[tuple[object, ...]]


class RowWitness:
    """A witness of a database file in WAL mode, which other connections write.

    It holds the state that it remembers as a read transaction, so that nothing is copied before it is asked for.
    """

    def __init__(self, path: Path) -> None:
        """Nothing is opened before something is remembered."""
        self._path = path
        self._version = 0

    def remember(self) -> None:
        """Remember all rows as they are now, instead of what was remembered."""
        self._version = self._data_version()
        self.forget()
        self._before.execute("BEGIN")
        self._before.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()  # only now the state is fixed

    def forget(self) -> None:
        """Let go of what it remembers."""
        if "_before" in vars(self) and self._before.in_transaction:
            self._before.execute("COMMIT")

    def changes(self) -> dict[str, tuple[Table, Table]]:
        """Return the tables whose rows are others now: their rows then and now, in the order of their insertion."""
        if self._data_version() == self._version:
            return {}
        then, now = _tables(self._before), _tables(self._now)
        return {name: (then.get(name, []), now.get(name, [])) for name in then | now if then.get(name) != now.get(name)}

    def close(self) -> None:
        """Close what was opened to look."""
        for name in ("_before", "_now"):
            if name in vars(self):
                vars(self)[name].close()

    def _data_version(self) -> int:
        """A number that commits of other connections change (SQLite, PRAGMA data_version)."""
        [(version,)] = self._now.execute("PRAGMA data_version")
        return int(version)

    @cached_property
    def _before(self) -> sqlite3.Connection:
        return self._opened()

    @cached_property
    def _now(self) -> sqlite3.Connection:
        return self._opened()

    def _opened(self) -> sqlite3.Connection:
        return sqlite3.connect(str(self._path), isolation_level=None, check_same_thread=False)


def _tables(connection: sqlite3.Connection) -> dict[str, Table]:
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return {name: connection.execute(f'SELECT * FROM "{name}" ORDER BY rowid').fetchall() for (name,) in names}
