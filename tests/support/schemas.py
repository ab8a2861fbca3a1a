"""What a database's schema is: tables with columns, keys, checks, indexes and sequences, and the rows that it begins with."""

from typing import Any

from sqlalchemy import Engine, inspect


def parts_of(engine: Engine) -> dict[str, Any]:
    """All parts by name, and the rows of each table; values that new rows get by themselves are left out."""
    looked = inspect(engine)
    # Of all tables at once: a server is asked once for each kind.
    columns, keys = _by_table(looked.get_multi_columns()), _by_table(looked.get_multi_pk_constraint())
    references, indexes = _by_table(looked.get_multi_foreign_keys()), _by_table(looked.get_multi_indexes())
    uniques, checks = _by_table(looked.get_multi_unique_constraints()), _by_table(looked.get_multi_check_constraints())
    found: dict[str, Any] = {}
    for table in looked.get_table_names():
        with engine.connect() as connection:
            rows = connection.exec_driver_sql(f'SELECT * FROM "{table}"').all()
        found[table] = {
            "columns": {
                each["name"]: (str(each["type"]), each["nullable"], _computed(each)) for each in columns[table]
            },
            "key": sorted(keys[table]["constrained_columns"]),
            "references": sorted(
                (each["constrained_columns"], each["referred_table"], each["referred_columns"], str(each["options"]))
                for each in references[table]
            ),
            "unique": sorted(sorted(each["column_names"]) for each in uniques[table]),
            "checks": sorted(_text(each["sqltext"]) for each in checks[table]),
            "indexes": sorted(
                (each["name"] or "", [_text(name) for name in each["column_names"]], bool(each["unique"]), _where(each))
                for each in indexes[table]
            ),
            "rows": [tuple(row) for row in rows],
        }
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            statement = "SELECT name FROM sqlite_master WHERE sql LIKE '%AUTOINCREMENT%' OR sql LIKE '%WITHOUT ROWID%'"
        else:
            statement = "SELECT sequencename FROM pg_sequences"
        found["numbered"] = sorted(name for (name,) in connection.exec_driver_sql(statement))
    return found


def _by_table(found: Any) -> dict[str, Any]:
    return {table: each for (_, table), each in found.items()}


def _computed(column: Any) -> str:
    """The expression of a computed column; of a file's that was added later SQLAlchemy gives the rest of the table, too."""
    return _text(column.get("computed", {}).get("sqltext", "")).strip("(").partition(")")[0]


def _text(sql: Any) -> str:
    return " ".join(str(sql).replace('"', "").split())


def _where(index: Any) -> str:
    options = index.get("dialect_options", {})
    return _text(next((value for name, value in options.items() if name.endswith("_where")), ""))
