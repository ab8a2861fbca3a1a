"""A PostgreSQL server of a test session, from Debian's package, reachable by a socket in its folder alone."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from sqlalchemy import create_engine

PROGRAMS: Final = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
"""Folders of the installed releases' programs, the newest last."""

_USER: Final = "postgres"  # the package makes it; the server refuses to run as root


class PostgresqlServer:
    """A server with an empty cluster; what it stores is not synced, since it ends with the tests."""

    def __init__(self, settings: Sequence[str] = ()) -> None:
        """Choose a folder, and further settings of the server, as NAME=VALUE; start nothing."""
        self._settings = settings
        self._folder = Path(tempfile.mkdtemp(prefix="stead-postgresql-"))
        self._bin = PROGRAMS[-1]
        self._count = 0

    def start(self) -> None:
        """Make the cluster and start the server."""
        shutil.chown(self._folder, _USER)
        data = self._folder / "data"
        self._run("initdb", "--auth=trust", f"--username={_USER}", "--no-sync", "--locale=C.UTF-8", f"--pgdata={data}")
        self._serve()

    def _serve(self) -> None:
        data = self._folder / "data"
        settings = f"-c listen_addresses= -c unix_socket_directories={self._folder} -c fsync=off -c max_connections=60"
        settings += "".join(f" -c {each}" for each in self._settings)
        self._run("pg_ctl", f"--pgdata={data}", f"--log={self._folder / 'log'}", "--wait", "-o", settings, "start")

    def stop(self) -> None:
        """Stop the server and remove all that it stored."""
        if (self._folder / "data" / "postmaster.pid").exists():
            self.stop_at_once()
        shutil.rmtree(self._folder)

    def stop_at_once(self) -> None:
        """Let it end without finishing anything, as when its machine is lost."""
        self._run("pg_ctl", f"--pgdata={self._folder / 'data'}", "--mode=immediate", "--wait", "stop")

    def start_again(self) -> None:
        """Start it again after `stop_at_once`, with what was stored."""
        self._serve()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Hold all its processes meanwhile: connections stay open, and nobody answers, as of a machine that hangs."""
        held = self._processes()
        for each in held:
            os.kill(each, signal.SIGSTOP)
        try:
            yield
        finally:
            for each in reversed(held):
                with suppress(ProcessLookupError):  # it had been told to end before it was held
                    os.kill(each, signal.SIGCONT)

    def _processes(self) -> list[int]:
        """The server, which starts all others, and then these."""
        (pid, *_) = (self._folder / "data" / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        living = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        return [*map(int, (pid, *living))]

    @classmethod
    def empty_database(cls, ends: ExitStack) -> str:
        """Start a server that is stopped at the end, and return the URL of an empty database; empty where there is none."""
        if not PROGRAMS:
            return ""
        server = cls()
        ends.callback(server.stop)
        server.start()
        return server.new_database()

    def new_database(self, copy_of: str = "template1") -> str:
        """Make a database, empty or a copy of another one, by its name, that nobody uses, and return its URL."""
        self._count += 1
        name = f"stead_{self._count}"
        engine = create_engine(self._url(_USER), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE {copy_of}")
        engine.dispose()
        return self._url(name)

    def cpu_seconds(self) -> float:
        """Give the processor time of the server and all of its processes, of which each connection has one."""
        ticks = 0
        for each in self._processes():
            words = Path(f"/proc/{each}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
            ticks += sum(map(int, words[11:15]))  # proc_pid_stat(5): utime, stime and those of ended children
        return ticks / os.sysconf("SC_CLK_TCK")

    def _url(self, database: str) -> str:
        return f"postgresql+psycopg://{_USER}@/{database}?host={self._folder}"

    def _run(self, program: str, *arguments: str) -> None:
        # What it starts may keep a pipe open, so that its words go to a file.
        with tempfile.TemporaryFile() as words:
            done = subprocess.run(
                [self._bin / program, *arguments],
                user=_USER, group=_USER, extra_groups=[], cwd=self._folder, env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
                stdin=subprocess.DEVNULL, stdout=words, stderr=words, check=False,
            )  # fmt: skip
            if done.returncode != 0:
                words.seek(0)
                raise AssertionError(f"{program} ended with {done.returncode}: {words.read().decode(errors='replace')}")
