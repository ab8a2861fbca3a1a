"""A cloud with one controller and SQLite, or with some and PostgreSQL; and its database, to be looked at while all runs."""

import contextlib
import json
import sqlite3
import sys
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, create_engine, inspect, text

from tests.recovery.lives import held
from tests.support import held_memory
from tests.support.cloud import Cloud
from tests.support.postgresql import PostgresqlServer
from tests.support.second_controller import beside

_PROGRAM: Final = "tests.recovery.lives.brief_controller"


@dataclass
class Clouds:
    """One cloud, once for each of its controllers; hosts are those of the first."""

    folder: Path
    options: tuple[str, ...]
    controllers: int = 1
    is_shared: bool = False  # its database is PostgreSQL
    traces: bool = False  # allocations of the controllers
    all: list[Cloud] = field(default_factory=list)
    engine: Engine | None = None  # of PostgreSQL

    @property
    def first(self) -> Cloud:
        """The one with hosts."""
        return self.all[0]

    @contextlib.contextmanager
    def run(self) -> Iterator["Clouds"]:
        """Start the database and the controllers, and stop them."""
        with contextlib.ExitStack() as stack:
            options = self.options
            if self.is_shared:
                server = PostgresqlServer()
                stack.callback(server.stop)
                server.start()
                url = server.new_database()
                self.engine = create_engine(url, isolation_level="REPEATABLE READ", pool_pre_ping=True)
                stack.callback(self.engine.dispose)
                options = (*options, f"--database-url={url}")
            self._answers.mkdir()
            if self.traces:
                (self._answers / held_memory.TRACE).touch()
            for number in range(self.controllers):
                made = (
                    beside(self.first, self.folder / f"controller-{number}") if number else Cloud(self.folder, options)
                )
                program = [sys.executable, "-m", _PROGRAM, str(self._answers), *made.controller.command[1:]]
                made.controller = replace(made.controller, command=program)
                stack.callback(made.stop)
                self.all.append(made)
                made.start_controller()
            yield self

    # --- the database

    @contextlib.contextmanager
    def opened(self, without: Collection[str] = ()) -> Iterator[sqlite3.Connection]:
        """Give the database to read it, while controllers may run; of PostgreSQL a copy, without what some tables have."""
        if self.engine is None:
            with held.opened(self._file) as database:
                yield database
            return
        with held.copy() as database:
            _fill(database, self.engine, without)
            yield database

    def counts(self, conditions: dict[str, str]) -> dict[str, int]:
        """How many rows each table has, of those that fulfil the condition of their table."""
        if self.engine is None:
            with held.opened(self._file) as database:
                names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
                return {name: database.execute(_count(name, conditions)).fetchone()[0] for name in names}
        with self.engine.connect() as connection:
            names = inspect(connection).get_table_names()
            return {name: connection.scalars(text(_count(name, conditions))).one() for name in names}

    def database_bytes(self) -> dict[str, int]:
        """How large the database is, and where it has one, its log of what is not in it yet."""
        if self.engine is None:
            log = self._file.with_name(f"{self._file.name}-wal")
            return {"the database": self._file.stat().st_size, "its log": log.stat().st_size if log.exists() else 0}
        with self.engine.connect() as connection:
            size = connection.scalars(text("SELECT pg_database_size(current_database())")).one()
        return {"the database": int(size)}

    @property
    def _file(self) -> Path:
        return self.first.settings.controller_dir / "stead.sqlite"

    # --- what the controllers hold

    def memory(self, cloud: Cloud) -> dict[str, float]:
        """Let a controller give back what is free, and say what holds the rest; lists of that stay in a file of each look."""
        found = held_memory.ask(cloud.controller.serving, self._answers)
        lists = {what: each for what, each in found.items() if isinstance(each, list)}
        file = self._answers / f"{time.time():.0f}-{cloud.folder.name}.txt"
        file.write_text("".join(f"{what}: {each}\n" for what, some in lists.items() for each in some), encoding="utf-8")
        return {what: float(each) for what, each in found.items() if what not in lists}

    @property
    def _answers(self) -> Path:
        return self.folder / "memory"


def _count(name: str, conditions: dict[str, str]) -> str:
    return f"SELECT count(*) FROM {name} WHERE {conditions.get(name, 'TRUE')}"


def _fill(database: sqlite3.Connection, engine: Engine, without: Collection[str]) -> None:
    """Copy all tables, as they are at one moment."""
    with engine.connect() as connection:
        known = inspect(connection)
        for name in known.get_table_names():
            columns = [f'"{column["name"]}"' for column in known.get_columns(name)]
            database.execute(f'CREATE TABLE "{name}" ({", ".join(columns)})')
            if name in without:
                continue
            found = [[_plain(value) for value in row] for row in connection.execute(text(f'SELECT * FROM "{name}"'))]
            marks = ", ".join("?" for _ in columns)
            database.executemany(f'INSERT INTO "{name}" VALUES ({marks})', found)


def _plain(value: Any) -> Any:
    """Return what SQLite can store for a value."""
    if value is None or isinstance(value, int | float | str | bytes):
        return value
    return value.isoformat() if isinstance(value, datetime) else json.dumps(value, default=str)
