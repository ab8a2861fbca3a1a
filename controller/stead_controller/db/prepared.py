"""Statements of hot paths are compiled once and handed to the driver as they are.

What SQLAlchemy does around each execution (find the compiled form by a key as long as the statement, make a context, a
result and its metadata) costs several times as much as SQLite does for a row that it finds by its key. What the
statement says, and how values are converted, is SQLAlchemy's also here.
"""

import re
from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import Delete, Insert, Select, Update

type Row = tuple[Any, ...]
type _Convert = Callable[[Any], Any]

_LIST: Final = re.compile(r"\(__\[POSTCOMPILE_(\w+)\]\)")  # how an IN is compiled whose values come later
_NO_VALUES: Final = "(SELECT NULL WHERE 1 != 1)"


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A statement in the words of a dialect.

    `names` are those of the parameters in the order of their places; of some the values are `constants`, of others
    they are made anew each time (`defaults`), or are `lists`.
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


class Prepared:
    """One statement; its parameters are its `bindparam`s or, of an insert, its columns.

    Rows come as plain tuples. Raises SQLAlchemy's DBAPIError, as `Connection.execute` does.
    """

    def __init__(self, statement: Select[*tuple[Any, ...]] | Insert | Update | Delete) -> None:
        """Take the statement; it is compiled at its first use."""
        self.statement = statement
        self._compiled: dict[tuple[str, tuple[str, ...] | None], _Compiled] = {}

    def all(self, connection: Connection, params: Mapping[str, Any]) -> list[Row]:
        """Execute and give all rows; none of a statement that returns nothing."""
        compiled = self._for(connection.dialect, params)
        rows = _execute(connection, compiled, *_arguments(compiled, connection.dialect, params))
        if not compiled.from_driver:
            return rows
        return [tuple(_read(row, compiled.from_driver)) for row in rows]

    def named(self, connection: Connection, params: Mapping[str, Any]) -> list[Any]:
        """Execute and give all rows, whose values are attributes by the names of their columns."""
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
        """Execute and give the first row, if there is one."""
        return next(iter(self.all(connection, params)), None)

    def scalar(self, connection: Connection, params: Mapping[str, Any]) -> Any:
        """Execute and give the first value of the first row; None when there is no row."""
        row = self.first(connection, params)
        return None if row is None else row[0]

    def scalars(self, connection: Connection, params: Mapping[str, Any]) -> list[Any]:
        """Execute and give the first value of each row."""
        return [row[0] for row in self.all(connection, params)]

    def many(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Execute with the parameters of each row; all name the same, and none is a list."""
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
    converters = [column.type.dialect_impl(dialect).result_processor(dialect, None) for column in returned]
    row: Any = namedtuple("Row", names, rename=True)  # type: ignore[misc]  # noqa: PYI024 - of any columns
    return _Compiled(
        sql=compiled.string,
        names=tuple(compiled.positiontup or compiled.binds),
        constants=constants,
        defaults=defaults,
        lists=frozenset(_LIST.findall(compiled.string)),
        to_driver=to_driver,
        from_driver=tuple((place, convert) for place, convert in enumerate(converters) if convert is not None),
        named=partial(tuple.__new__, row),  # `_make` without its count of the values, which is a call more for each row
        returns_rows=bool(returned),
    )


def _converted(convert: _Convert | None, value: Any, *, is_list: bool) -> Any:
    if convert is None:
        return value
    return [convert(one) for one in value] if is_list else convert(value)


def _read(row: Row, converters: Sequence[tuple[int, _Convert]]) -> list[Any]:
    """Give the values of a row in Python's types."""
    values = list(row)
    for place, convert in converters:
        values[place] = convert(values[place])
    return values


def _arguments(compiled: _Compiled, dialect: Dialect, params: Mapping[str, Any]) -> tuple[str, Any]:
    """Give the SQL and its arguments, as the driver wants them: in order or by name."""
    values: dict[str, Any] = dict(compiled.constants)
    for name, make in compiled.defaults.items():
        values[name] = _converted(compiled.to_driver.get(name), make(None), is_list=False)
    for name, value in params.items():
        convert = compiled.to_driver.get(name)
        values[name] = value if convert is None else _converted(convert, value, is_list=name in compiled.lists)
    if not compiled.lists:
        return compiled.sql, tuple(values[name] for name in compiled.names) if dialect.positional else values
    if not dialect.positional:
        return _spread_by_name(compiled, values)
    arguments: list[Any] = []
    for name in compiled.names:
        if name in compiled.lists:
            arguments += values[name]
        else:
            arguments.append(values[name])
    return _LIST.sub(lambda found: _places(["?"] * len(values[found[1]])), compiled.sql), tuple(arguments)


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


def execute_text(connection: Connection, sql: str) -> None:
    """Execute a text that is SQL already; listeners to the engine do not see it. Raises DBAPIError."""
    try:
        connection.connection.cursor().execute(sql)
    except connection.dialect.loaded_dbapi.Error as error:
        raise _translated(connection, sql, (), error) from error


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
