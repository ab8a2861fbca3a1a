"""An empty database gets all tables at once: the same as by all migrations, one after the other."""

import contextlib
import os

import pytest
from sqlalchemy import create_engine, inspect

from stead_controller.db import migrate, new_schema, schema
from tests.support.postgresql import PROGRAMS, PostgresqlServer
from tests.support.schemas import parts_of


@pytest.fixture
def urls(tmp_path):
    """Two empty files."""
    return f"sqlite:///{tmp_path}/walked.sqlite", f"sqlite:///{tmp_path}/made.sqlite"


@pytest.fixture
def server_urls():
    """Two empty databases of a server."""
    server = PostgresqlServer()
    try:
        server.start()
        yield server.new_database(), server.new_database()
    finally:
        server.stop()


def check(walked, made):
    """Walk through the migrations in one database, make the other's tables at once: no part differs."""
    with contextlib.ExitStack() as ends:
        one, other = (create_engine(url) for url in (walked, made))
        ends.callback(one.dispose)
        ends.callback(other.dispose)
        migrate.upgrade(one)
        schema.bring_up_to_date(other)
        first, second = parts_of(one), parts_of(other)
        assert len(second) > 100
        for name in sorted(first.keys() | second.keys()):
            assert second.get(name) == first.get(name), name
        assert migrate.differences(other) == []
        assert schema.revision_of(other) == schema.newest()


@pytest.mark.story
def test_a_file_is_the_same(urls):
    check(*urls)


@pytest.mark.story
@pytest.mark.skipif(not PROGRAMS, reason="needs a PostgreSQL server: ./stead test --postgresql installs it")
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to run the server as its own user")
@pytest.mark.filterwarnings("error::sqlalchemy.exc.SAWarning")
def test_a_database_of_a_server_is_the_same(server_urls):
    check(*server_urls)


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
