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

from stead_controller.db import exchanges

type Row = tuple[Any, ...]
type Question = tuple["Prepared", Mapping[str, Any]]
"""A statement with its parameters, to be asked."""
type _Convert = Callable[[Any], Any]

_LIST: Final = re.compile(r"\(__\[POSTCOMPILE_(\w+)\]\)")  # the compiled form of an IN with values given later
_SHORT: Final = 16  # values of lists, with which a statement's SQL is kept
_NO_VALUES: Final = "(SELECT NULL WHERE 1 != 1)"
# What SQLAlchemy writes for psycopg, whose own numbers are $1, $2: lists, single values, and percent signs.
_PLACE: Final = re.compile(r"(?P<operator>(?:NOT )?IN) \(__\[POSTCOMPILE_(?P<list>\w+)\]\)|%\((?P<name>\w+)\)s|%%")


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A statement compiled for a dialect.

    `values` makes the values of all places, in the driver's form, of the parameters; at `lists` it has a list, which
    becomes as many places as it has values.
    """

    sql: str
    values: Callable[[Mapping[str, Any]], tuple[Any, ...]]
    lists: tuple[int, ...]
    expanded: dict[tuple[int, ...], str]  # SQL by the lengths of its lists
    from_driver: tuple[tuple[int, _Convert], ...]
    named: Callable[[Iterable[Any]], Any]
    returns_rows: bool
    is_numbered: bool  # for PostgreSQL, which takes a list as one value
    only_reads: bool


class Prepared:
    """One statement; its parameters are its `bindparam`s or, for an insert, its columns.

    Rows are returned as plain tuples. Raises SQLAlchemy's DBAPIError, as `Connection.execute` does.
    """

    def __init__(
        self, statement: Select[*tuple[Any, ...]] | CompoundSelect[*tuple[Any, ...]] | Insert | Update | Delete
    ) -> None:
        """Store the statement; it is compiled when it is first used."""
        self.statement = statement
        self._columns_vary = isinstance(statement, Insert)
        self._compiled: dict[str | tuple[str, ...], _Compiled] = {}

    def all(self, connection: Connection, params: Mapping[str, Any]) -> list[Row]:
        """Execute and return all rows; none for a statement that returns nothing."""
        compiled = self._for(connection.dialect, params)
        rows = _execute(connection, compiled, *_arguments(compiled, params))
        if not compiled.from_driver:
            return rows
        return [tuple(_read(row, compiled.from_driver)) for row in rows]

    def named(self, connection: Connection, params: Mapping[str, Any]) -> list[Any]:
        """Execute and return all rows, whose values are attributes by the names of their columns."""
        compiled = self._for(connection.dialect, params)
        rows = _execute(connection, compiled, *_arguments(compiled, params))
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

    def written(self, connection: Connection, params: Mapping[str, Any]) -> exchanges.Statement:
        """Return the SQL and its arguments in the form of the connection's driver."""
        return _arguments(self._for(connection.dialect, params), params)

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
        arguments = [_arguments(compiled, row)[1] for row in rows]
        _execute(connection, compiled, compiled.sql, arguments, many=True)

    def _for(self, dialect: Dialect, params: Mapping[str, Any]) -> _Compiled:
        name = dialect.name
        key = (name, *params) if self._columns_vary else name
        known = self._compiled.get(key)
        if known is None:
            columns = tuple(params) if self._columns_vary else None
            known = self._compiled[key] = _compile(self.statement, dialect, columns)
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
    lists, is_numbered = frozenset(_LIST.findall(compiled.string)), dialect.name == "postgresql"
    sql, positions = _numbered(compiled.string) if is_numbered else (compiled.string, tuple(compiled.positiontup or ()))
    return _Compiled(
        sql=sql,
        values=_values_of(
            [(name, _to_place(to_driver.get(name), is_list=name in lists)) for name in positions], constants, defaults
        ),
        lists=() if is_numbered else tuple(at for at, name in enumerate(positions) if name in lists),
        expanded={},
        from_driver=tuple((place, convert) for place, convert in enumerate(converters) if convert is not None),
        named=partial(tuple.__new__, row),  # `_make` without its check of the length, which costs one more call per row
        returns_rows=bool(returned),
        is_numbered=is_numbered,
        only_reads=isinstance(statement, (Select, CompoundSelect)),
    )


def _numbered(sql: str) -> tuple[str, tuple[str, ...]]:
    """Return SQL for psycopg with numbered places, where a list is an array, and the names of these places."""
    numbers: dict[str, int] = {}

    def place(found: re.Match[str]) -> str:
        name = found["list"] or found["name"]
        if name is None:
            return "%"
        number = numbers.setdefault(name, len(numbers) + 1)
        if found["name"]:
            return f"${number}"
        return f"{'= ANY' if found['operator'] == 'IN' else '<> ALL'} (${number})"

    return _PLACE.sub(place, sql), tuple(numbers)


def _to_place(convert: _Convert | None, *, is_list: bool) -> _Convert | None:
    if not is_list:
        return convert
    return list if convert is None else lambda values: [convert(one) for one in values]


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


def _values_of(
    places: Sequence[tuple[str, _Convert | None]],
    constants: Mapping[str, Any],
    defaults: Mapping[str, Callable[[Any], Any]],
) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    """Write the function that makes a statement's values of its parameters: each launch calls it forty times.

    A constant is converted already; a default is made for each execution.
    """
    known: dict[str, Any] = {}
    parts = []
    for at, (name, convert) in enumerate(places):
        if name in constants:
            known[f"k{at}"] = constants[name]
            parts.append(f"k{at}")
            continue
        value = f"p[{name!r}]"
        if name in defaults:
            known[f"d{at}"] = defaults[name]
            value = f"d{at}(None)"
        if convert is not None:
            known[f"c{at}"] = convert
            value = f"c{at}({value})"
        parts.append(value)
    text = f"lambda p: ({''.join(f'{part}, ' for part in parts)})"
    made: Callable[[Mapping[str, Any]], tuple[Any, ...]] = eval(text, known)  # noqa: S307 - parameters' names, quoted
    return made


def _arguments(compiled: _Compiled, params: Mapping[str, Any]) -> tuple[str, Any]:
    """Return the SQL and its arguments in the driver's form."""
    values = compiled.values(params)
    if not compiled.lists:
        return compiled.sql, values
    lengths = tuple([len(values[at]) for at in compiled.lists])
    sql = compiled.expanded.get(lengths)
    if sql is None:
        sql = _expanded(compiled, values)
        if sum(lengths) <= _SHORT:
            compiled.expanded[lengths] = sql
    arguments: list[Any] = []
    for at, value in enumerate(values):
        if at in compiled.lists:
            arguments += value
        else:
            arguments.append(value)
    return sql, tuple(arguments)  # as SQLAlchemy gives them to whoever listens to the engine


def _expanded(compiled: _Compiled, values: Sequence[Any]) -> str:
    """Return SQL with a place for each value of its lists."""
    lists = iter([values[at] for at in compiled.lists])
    return _LIST.sub(lambda _: _places(["?"] * len(next(lists))), compiled.sql)


def _places(places: Sequence[str]) -> str:
    return f"({', '.join(places)})" if places else _NO_VALUES


def connection_of(session: Session) -> Connection:
    """Return the connection of a transaction's session; `Session.connection` checks the session's state each time."""
    assert isinstance(session.bind, Connection)
    return session.bind


def execute_text(connection: Connection, sql: str, *arguments: str) -> None:
    """Execute text that is already SQL; listeners on the engine do not see it. Raises DBAPIError.

    Where statements may wait (`exchanges`), it waits with them.
    """
    held = exchanges.held(connection)
    if held is not None:
        held.forget_answers()  # it may undo what they are of
        held.waiting.append((sql, arguments))
        return
    try:
        connection.connection.cursor().execute(sql, *((arguments,) if arguments else ()))
    except connection.dialect.loaded_dbapi.Error as error:
        raise _translated(connection, sql, arguments, error) from error


def send(connection: Connection) -> None:
    """Execute what waits, if anything does; raises DBAPIError."""
    held = exchanges.held(connection)
    if held is not None and not held.is_passed:
        held.forget_answers()
        if held.waiting:
            _exchange(connection, held.taken())


def _translated(connection: Connection, sql: str, arguments: Any, error: Exception) -> BaseException:
    return DBAPIError.instance(sql, arguments, error, connection.dialect.loaded_dbapi.Error, dialect=connection.dialect)


def _execute(connection: Connection, compiled: _Compiled, sql: str, arguments: Any, *, many: bool = False) -> list[Row]:
    if compiled.is_numbered:
        return _execute_numbered(connection, compiled, sql, arguments, many=many)
    for listener in connection.engine.dispatch.before_cursor_execute:
        listener(connection, None, sql, arguments, None, many)
    driver: Any = connection.connection.dbapi_connection
    try:
        # Of SQLite's driver, which makes a cursor that ends with the last reference to it.
        found = (driver.executemany if many else driver.execute)(sql, arguments)
        rows: list[Row] = found.fetchall() if compiled.returns_rows else []
    except connection.dialect.loaded_dbapi.Error as error:
        raise _translated(connection, sql, arguments, error) from error
    return rows


def _execute_numbered(
    connection: Connection, compiled: _Compiled, sql: str, arguments: Any, *, many: bool
) -> list[Row]:
    """Execute on PostgreSQL, or let it wait, or return the answer that is here already."""
    held = exchanges.held(connection)
    if held is not None:
        held.is_passed = True  # the listener that sends what waits must not send it apart from this
    for listener in connection.engine.dispatch.before_cursor_execute:
        listener(connection, None, sql, arguments, None, many)
    statements = [(sql, each) for each in (arguments if many else (arguments,))]
    if held is None:
        return _exchange(connection, statements)[-1]
    held.is_passed = False
    if not compiled.only_reads:
        held.forget_answers()
    elif (known := held.answer(statements[0])) is not None:
        return known
    if not compiled.returns_rows:
        held.waiting += statements
        return []
    return _exchange(connection, [*held.taken(), *statements])[-1]


def ask(connection: Connection, *questions: Question) -> None:
    """Let the server answer in one exchange what will be asked next; does nothing with SQLite, which has none.

    The answers are those of the same statements with the same parameters, until anything is written.
    """
    held = exchanges.held(connection)
    if held is None or not questions:
        return
    asked = [question.written(connection, params) for question, params in questions]
    asked = [each for each in asked if not held.knows(each)]
    if not asked:
        return
    for question, rows in zip(asked, _exchange(connection, [*held.taken(), *asked], len(asked)), strict=True):
        held.keep(question, rows)


def _exchange(
    connection: Connection, statements: Sequence[exchanges.Statement], answers: int = 1
) -> list[exchanges.Rows]:
    try:
        return exchanges.execute(connection, statements, answers)
    except connection.dialect.loaded_dbapi.Error as error:
        arguments = statements[-1][1]
        raise _translated(connection, _all_of(statements), arguments, error) from error


def _all_of(statements: Iterable[exchanges.Statement]) -> str:
    """Return the SQL of an exchange, of which the server does not say what failed."""
    return "; ".join(dict.fromkeys(sql for sql, _ in statements))
