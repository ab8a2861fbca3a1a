"""An empty database gets all tables at once: the same as by all migrations, one after the other."""

import contextlib
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, make_url

from stead_controller.db import migrate, new_schema, schema
from tests.support.schemas import parts_of


@pytest.fixture
def urls(tmp_path):
    """Two empty files."""
    return f"sqlite:///{tmp_path}/walked.sqlite", f"sqlite:///{tmp_path}/made.sqlite"


@pytest.mark.story
def test_a_file_is_the_same(urls, file_at):
    """Also one of a server is: tests/api/test_postgresql.py."""
    Path(str(make_url(urls[0]).database)).write_bytes(file_at(schema.newest()))
    with contextlib.ExitStack() as ends:
        one, other = (create_engine(url) for url in urls)
        ends.callback(one.dispose)
        ends.callback(other.dispose)
        schema.bring_up_to_date(other)
        first, second = parts_of(one), parts_of(other)
        assert len(second) > 100
        for name in sorted(first.keys() | second.keys()):
            assert second.get(name) == first.get(name), name
        assert migrate.differences(other) == []
        assert schema.revision_of(other) == schema.newest()


def test_who_is_interrupted_leaves_an_empty_database(urls, monkeypatch):
    engine = create_engine(urls[0])

    def interrupted(_model):
        raise KeyboardInterrupt

    monkeypatch.setattr(new_schema, "insert", interrupted)
    with pytest.raises(KeyboardInterrupt):
        schema.bring_up_to_date(engine)
    assert inspect(engine).get_table_names() == []
    monkeypatch.undo()
    schema.bring_up_to_date(engine)
    assert migrate.differences(engine) == []
    engine.dispose()
