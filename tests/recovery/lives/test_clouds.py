"""A database of PostgreSQL is looked at as one of SQLite."""

import os
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from tests.recovery.lives.clouds import Clouds
from tests.support.postgresql import PROGRAMS, PostgresqlServer


@pytest.mark.skipif(not PROGRAMS, reason="needs a PostgreSQL server: ./stead test --postgresql installs it")
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to run the server as its own user")
def test_a_copy_has_what_the_server_has(tmp_path: Path) -> None:
    server = PostgresqlServer()
    try:
        server.start()
        engine = create_engine(server.new_database())
        with engine.begin() as connection:
            connection.execute(
                text("CREATE TABLE hosts (id text, up boolean, since timestamptz, facts json, key bytea)")
            )
            row = "('h-1', TRUE, '2026-11-30T18:00:00Z', '{\"cpus\": 4}', '\\x01ff')"
            connection.execute(
                text(f"INSERT INTO hosts VALUES {row.replace(':', chr(92) + ':')}, (NULL, NULL, NULL, NULL, NULL)")
            )
            connection.execute(text("CREATE TABLE client_tokens (token text)"))
            connection.execute(text("INSERT INTO client_tokens VALUES ('one')"))
        clouds = Clouds(tmp_path, (), is_shared=True, engine=engine)
        with clouds.opened(without={"client_tokens"}) as database:
            [first, second] = database.execute("SELECT * FROM hosts ORDER BY id IS NULL").fetchall()
            assert (first[0], first[1], first[3], first[4]) == ("h-1", 1, '{"cpus": 4}', b"\x01\xff")
            assert first[2].startswith("2026-11-30T18:00:00")
            assert second == (None, None, None, None, None)
            assert database.execute("SELECT count(*) FROM client_tokens").fetchone() == (0,)
        assert clouds.counts({"hosts": "up"}) == {"hosts": 1, "client_tokens": 1}
        assert clouds.database_bytes()["the database"] > 1 << 20
        engine.dispose()
    finally:
        server.stop()
