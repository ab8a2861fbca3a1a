"""Compiles the statements of hot paths once and passes them to the driver directly.

SQLAlchemy's work around each execution (find the compiled form by a key as long as the statement, make a context, a
result and its metadata) costs several times as much as SQLite's lookup of a row by its key. The SQL and the conversion
of values are SQLAlchemy's here as well.
"""

import re
from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from sqlalchemy import CompoundSelect, Connection, Dialect, Float
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import Delete, Insert, Select, Update
from sqlalchemy.types import TypeEngine

type Row = tuple[Any, ...]
type _Convert = Callable[[Any], Any]

_LIST: Final = re.compile(r"\(__\[POSTCOMPILE_(\w+)\]\)")  # the compiled form of an IN with values given later
_NO_VALUES: Final = "(SELECT NULL WHERE 1 != 1)"


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A statement compiled for a dialect.

    `names` are the parameters' names in positional order; some values are `constants`, others are
    made for each execution (`defaults`), or are `lists`.
    """

    sql: str
    names: tuple[str, ...]
    constants: Mapping[str, Any]
    defaults: Mapping[str, Callable[[Any], Any]]
    lists: frozenset[str]
    to_driver: Mapping[str, _Convert]
    from_driver: tuple[tuple[int, _Convert], ...]
    named: Callable[[Iterable[Any]], Any]
    returns_rows: bool
    places: tuple[tuple[str, _Convert | None], ...]  # `names`, each with its conversion


class Prepared:
    """One statement; its parameters are its `bindparam`s or, for an insert, its columns.

    Rows are returned as plain tuples. Raises SQLAlchemy's DBAPIError, as `Connection.execute` does.
    """

    def __init__(
        self, statement: Select[*tuple[Any, ...]] | CompoundSelect[*tuple[Any, ...]] | Insert | Update | Delete
    ) -> None:
        """Store the statement; it is compiled when it is first used."""
        self.statement = statement
        self._compiled: dict[tuple[str, tuple[str, ...] | None], _Compiled] = {}

    def all(self, connection: Connection, params: Mapping[str, Any]) -> list[Row]:
        """Execute and return all rows; none for a statement that returns nothing."""
        compiled = self._for(connection.dialect, params)
        rows = _execute(connection, compiled, *_arguments(compiled, connection.dialect, params))
        if not compiled.from_driver:
            return rows
        return [tuple(_read(row, compiled.from_driver)) for row in rows]

    def named(self, connection: Connection, params: Mapping[str, Any]) -> list[Any]:
        """Execute and return all rows, whose values are attributes by the names of their columns."""
        compiled = self._for(connection.dialect, params)
        rows = _execute(connection, compiled, *_arguments(compiled, connection.dialect, params))
        make, converters = compiled.named, compiled.from_driver
        if not converters:
            return [make(row) for row in rows]
        found = []
        for row in rows:
            values = list(row)
            for place, convert in converters:
                values[place] = convert(values[place])
            found.append(make(values))
        return found

    def first(self, connection: Connection, params: Mapping[str, Any]) -> Row | None:
        """Execute and return the first row, if there is one."""
        return next(iter(self.all(connection, params)), None)

    def scalar(self, connection: Connection, params: Mapping[str, Any]) -> Any:
        """Execute and return the first value of the first row; None when there is no row."""
        row = self.first(connection, params)
        return None if row is None else row[0]

    def scalars(self, connection: Connection, params: Mapping[str, Any]) -> list[Any]:
        """Execute and return the first value of each row."""
        return [row[0] for row in self.all(connection, params)]

    def many(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Execute with the parameters of each row; all have the same names, and none is a list."""
        if not rows:
            return
        compiled = self._for(connection.dialect, rows[0])
        arguments = [_arguments(compiled, connection.dialect, row)[1] for row in rows]
        _execute(connection, compiled, compiled.sql, arguments, many=True)

    def _for(self, dialect: Dialect, params: Mapping[str, Any]) -> _Compiled:
        columns = tuple(params) if isinstance(self.statement, Insert) else None
        known = self._compiled.get((dialect.name, columns))
        if known is None:
            known = self._compiled[dialect.name, columns] = _compile(self.statement, dialect, columns)
        return known


def _compile(statement: Any, dialect: Dialect, columns: Sequence[str] | None) -> _Compiled:
    compiled = statement.compile(dialect=dialect, column_keys=columns)
    assert isinstance(compiled, SQLCompiler)
    to_driver: dict[str, _Convert] = {}
    constants: dict[str, Any] = {}
    for name, bind in compiled.binds.items():
        convert = bind.type.dialect_impl(dialect).bind_processor(dialect)
        if convert is not None:
            to_driver[name] = convert
        if not bind.required:
            constants[name] = _converted(convert, bind.value, is_list=bind.expanding)
    defaults: dict[str, Callable[[Any], Any]] = {}
    for column in compiled.insert_prefetch:
        constants.pop(column.key, None)
        default: Any = column.default
        if default.is_callable:
            defaults[column.key] = default.arg
        else:
            constants[column.key] = _converted(to_driver.get(column.key), default.arg, is_list=False)
    returned: list[Any] = list(statement.exported_columns)
    names: list[str] = [column.key for column in returned]
    converters = [_from_driver(column.type, dialect) for column in returned]
    row: Any = namedtuple("Row", names, rename=True)  # type: ignore[misc]  # noqa: PYI024 - of any columns
    positions = tuple(compiled.positiontup or compiled.binds)
    return _Compiled(
        sql=compiled.string,
        names=positions,
        places=tuple((name, to_driver.get(name)) for name in positions),
        constants=constants,
        defaults=defaults,
        lists=frozenset(_LIST.findall(compiled.string)),
        to_driver=to_driver,
        from_driver=tuple((place, convert) for place, convert in enumerate(converters) if convert is not None),
        named=partial(tuple.__new__, row),  # `_make` without its check of the length, which costs one more call per row
        returns_rows=bool(returned),
    )


def _from_driver(kind: TypeEngine[Any], dialect: Dialect) -> _Convert | None:
    """Return what makes a Python value of the driver's; None where that is one already."""
    if dialect.name == "postgresql" and isinstance(kind, Float):
        return _float  # its own processor must know the column's type in the answer: `numeric` is a Decimal, as of sums
    return kind.dialect_impl(dialect).result_processor(dialect, None)


def _float(value: Any) -> float | None:
    return None if value is None else float(value)


def _converted(convert: _Convert | None, value: Any, *, is_list: bool) -> Any:
    if convert is None:
        return value
    return [convert(one) for one in value] if is_list else convert(value)


def _read(row: Row, converters: Sequence[tuple[int, _Convert]]) -> list[Any]:
    """Return the values of a row as Python types."""
    values = list(row)
    for place, convert in converters:
        values[place] = convert(values[place])
    return values


def _arguments(compiled: _Compiled, dialect: Dialect, params: Mapping[str, Any]) -> tuple[str, Any]:
    """Return the SQL and its arguments in the driver's form: by position or by name."""
    if dialect.positional and not compiled.lists:
        return compiled.sql, _by_position(compiled, params)
    values: dict[str, Any] = dict(compiled.constants)
    for name, make in compiled.defaults.items():
        values[name] = _converted(compiled.to_driver.get(name), make(None), is_list=False)
    for name, value in params.items():
        convert = compiled.to_driver.get(name)
        values[name] = value if convert is None else _converted(convert, value, is_list=name in compiled.lists)
    if not compiled.lists:
        return compiled.sql, values
    if not dialect.positional:
        return _spread_by_name(compiled, values)
    arguments: list[Any] = []
    for name in compiled.names:
        if name in compiled.lists:
            arguments += values[name]
        else:
            arguments.append(values[name])
    return _LIST.sub(lambda found: _places(["?"] * len(values[found[1]])), compiled.sql), tuple(arguments)


def _by_position(compiled: _Compiled, params: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the arguments of a statement without lists: this is run for each statement of each launch."""
    arguments: list[Any] = []
    for name, convert in compiled.places:
        if name in params:
            value = params[name]
        elif name in compiled.defaults:
            value = compiled.defaults[name](None)
        else:
            arguments.append(compiled.constants[name])  # which is converted already
            continue
        arguments.append(value if convert is None else convert(value))
    return tuple(arguments)  # as SQLAlchemy gives them to whoever listens to the engine


def _spread_by_name(compiled: _Compiled, values: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    spread = {name: value for name, value in values.items() if name not in compiled.lists}
    for name in compiled.lists:
        spread |= {f"{name}_{number}": one for number, one in enumerate(values[name])}
    sql = _LIST.sub(
        lambda found: _places([f"%({found[1]}_{number})s" for number, _ in enumerate(values[found[1]])]), compiled.sql
    )
    return sql, spread


def _places(places: Sequence[str]) -> str:
    return f"({', '.join(places)})" if places else _NO_VALUES


def connection_of(session: Session) -> Connection:
    """Return the connection of a transaction's session; `Session.connection` checks the session's state each time."""
    assert isinstance(session.bind, Connection)
    return session.bind


def execute_text(connection: Connection, sql: str, *arguments: str) -> None:
    """Execute text that is already SQL; listeners on the engine do not see it. Raises DBAPIError."""
    try:
        connection.connection.cursor().execute(sql, *((arguments,) if arguments else ()))
    except connection.dialect.loaded_dbapi.Error as error:
        raise _translated(connection, sql, arguments, error) from error


def _translated(connection: Connection, sql: str, arguments: Any, error: Exception) -> BaseException:
    return DBAPIError.instance(sql, arguments, error, connection.dialect.loaded_dbapi.Error, dialect=connection.dialect)


def _execute(connection: Connection, compiled: _Compiled, sql: str, arguments: Any, *, many: bool = False) -> list[Row]:
    cursor = connection.connection.cursor()
    try:
        for listener in connection.engine.dispatch.before_cursor_execute:
            listener(connection, cursor, sql, arguments, None, many)
        (cursor.executemany if many else cursor.execute)(sql, arguments)
        rows: list[Row] = list(cursor.fetchall()) if compiled.returns_rows else []
    except connection.dialect.loaded_dbapi.Error as error:
        raise _translated(connection, sql, arguments, error) from error
    finally:
        cursor.close()
    return rows
