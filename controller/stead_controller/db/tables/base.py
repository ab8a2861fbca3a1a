"""The declarative base: naming of constraints, so that migrations can name them too."""

from datetime import datetime
from typing import ClassVar, Final

from sqlalchemy import Index, LargeBinary, MetaData, TextClause
from sqlalchemy.orm import DeclarativeBase

from stead_controller.db.types import UtcTime

_WHERE: Final = "where"


def partial_index(name: str, *columns: str, where: TextClause, unique: bool = False) -> Index:
    """Make an index of the rows alone for which a condition holds.

    PostgreSQL's option for it would load SQLAlchemy's dialect for that server in each controller, 2.3 MiB in 19
    modules; `complete_for_postgresql` sets it where migrations are made and run.
    """
    return Index(name, *columns, unique=unique, sqlite_where=where, info={_WHERE: where})


def complete_for_postgresql(metadata: MetaData) -> None:
    """Give partial indexes their condition for PostgreSQL, too."""
    for table in metadata.tables.values():
        for index in table.indexes:
            if _WHERE in index.info:
                index.dialect_options["postgresql"]["where"] = index.info[_WHERE]


class Base(DeclarativeBase):
    """All tables."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar = {datetime: UtcTime, bytes: LargeBinary}
