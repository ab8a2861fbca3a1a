"""Indexes of some rows alone, in both databases."""

from sqlalchemy import Column, Integer, MetaData, Table, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex

from stead_controller.db.tables.base import complete_for_postgresql, partial_index


def test_both_databases_get_the_condition_and_whole_indexes_none():
    index = partial_index("ix_some", "number", where=text("number > 3"), unique=True)
    table = Table("things", metadata := MetaData(), Column("number", Integer, index=True), index)
    complete_for_postgresql(metadata)
    for dialect in (sqlite.dialect(), postgresql.dialect()):
        made = sorted(str(CreateIndex(each).compile(dialect=dialect)) for each in table.indexes)
        assert made == [
            "CREATE INDEX ix_things_number ON things (number)",
            "CREATE UNIQUE INDEX ix_some ON things (number) WHERE number > 3",
        ]
