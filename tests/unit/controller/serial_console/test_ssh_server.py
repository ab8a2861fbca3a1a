"""The SSH server of serial consoles, asked by a client of the same library: who gets in, and how sessions end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import asyncssh
import pytest

from stead_controller.errors import WrongState
from stead_controller.hosts.consoles import ConsoleSession
from stead_controller.resources.instances import serial_console
from stead_controller.resources.instances.serial_console import Console
from stead_controller.serial_console import ssh_server
from stead_controller.serial_console.ssh_server import SerialConsoleServer
from tests.support.rows import NOW

INSTANCE = "i-0123456789abcdef0"
USER = f"{INSTANCE}.port0"
KEY, OTHER = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
HOST_KEY = asyncssh.generate_private_key("ssh-ed25519")


@dataclass
class Guest:
    """A controller's database and consoles as far as the server asks them: one key opens one console."""

    sessions: list[ConsoleSession] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    refusal: str = ""

    async def run(self, work: Callable[[Any], Any], *, writes: bool) -> Any:
        assert not writes
        return work(None)

    def opened_by(self, _tx: Any, instance_id: str, openssh: str, now: Any) -> Console | None:
        assert now == NOW
        self.asked.append(instance_id)
        mine = KEY.export_public_key("openssh").decode().split()[:2]
        return Console(instance_id, "host-1") if openssh.split()[:2] == mine else None

    @contextlib.asynccontextmanager
    async def session(self, host_id: str, instance_id: str) -> AsyncIterator[ConsoleSession]:
        assert (host_id, instance_id) == ("host-1", INSTANCE)
        if self.refusal:
            raise WrongState("instance", self.refusal)
        made = ConsoleSession(host_id)
        self.sessions.append(made)
        yield made
        made.end()


@dataclass
class Bench:
    """The server, and clients of it."""

    guest: Guest
    server: SerialConsoleServer
    port: int = 0
    address: str = "127.0.0.1"

    def connect(self, user: str = USER, key: Any = KEY, **options: Any) -> Any:
        return asyncssh.connect(
            self.address, self.port, username=user, client_keys=[key] if key else [], known_hosts=None,
            agent_path=None, config=None, **options,
        )  # fmt: skip

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[tuple[Any, ConsoleSession]]:
        """A person's process at the console, and the other side of it."""
        async with self.connect() as connection:
            process = await connection.create_process(term_type="xterm", encoding=None)
            await until(lambda: self.guest.sessions)
            yield process, self.guest.sessions[-1]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - any condition
            await asyncio.sleep(0.005)


@pytest.fixture
async def bench(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    guest = Guest()
    monkeypatch.setattr(serial_console, "opened_by", guest.opened_by)
    server = SerialConsoleServer(guest, guest, HOST_KEY.export_private_key("openssh"), lambda: NOW)  # type: ignore[arg-type]  # as far as they are used
    made = Bench(guest, server)
    made.port = server.start(made.address, 0)
    yield made
    await server.stop()


async def test_what_is_written_and_typed_goes_both_ways(bench: Bench) -> None:
    async with bench.session() as (process, session):
        session.text.put_nowait(b"login: \xff")
        assert await process.stdout.read(100) == b"login: \xff"
        process.stdin.write(b"ro\x03ot\n")
        typed = b""
        while len(typed) < 6:
            typed += await asyncio.wait_for(session.keys.get(), 60)
        assert typed == b"ro\x03ot\n"
        session.end()
        assert (await process.wait()).exit_status == 0
    assert bench.guest.asked == [INSTANCE] * len(bench.guest.asked)


@pytest.mark.parametrize("user", [INSTANCE, f"{INSTANCE}.port1", f"x{USER}", f"{USER}x", "root", "i-0123.port0"])
async def test_only_ports_of_instances_have_names_here(bench: Bench, user: str) -> None:
    with pytest.raises(asyncssh.PermissionDenied):
        await bench.connect(user)
    assert bench.guest.asked == []


async def test_nobody_gets_in_without_the_key(bench: Bench) -> None:
    for options in ({"key": OTHER}, {"key": None}, {"key": None, "password": "x"}):
        with pytest.raises(asyncssh.PermissionDenied):
            await bench.connect(**options)
    assert bench.guest.sessions == []


async def test_what_no_serial_port_knows_is_left_out(bench: Bench) -> None:
    async with bench.session() as (process, session):
        process.change_terminal_size(100, 30)
        process.send_break(100)
        process.send_signal("INT")
        process.stdin.write(b"x")
        assert await asyncio.wait_for(session.keys.get(), 60) == b"x"


async def test_the_persons_end_of_input_ends_the_session(bench: Bench) -> None:
    async with bench.session() as (process, session):
        process.stdin.write_eof()
        assert await asyncio.wait_for(session.keys.get(), 60) == b""
        assert (await process.wait()).exit_status == 0


async def test_a_client_that_is_gone_ends_the_session(bench: Bench) -> None:
    connection = await bench.connect()
    await connection.create_process(term_type="xterm", encoding=None)
    await until(lambda: bench.guest.sessions)
    connection.abort()
    assert await asyncio.wait_for(bench.guest.sessions[0].keys.get(), 60) == b""
    await until(lambda: not bench.server._connections)


async def test_a_refusal_is_said(bench: Bench) -> None:
    bench.guest.refusal = "Only 1 session is supported"
    async with bench.connect() as connection:
        done = await connection.run(term_type="xterm", stdin=asyncssh.DEVNULL)
    assert done.exit_status == 1
    assert "Only 1 session" in done.stdout + done.stderr


async def test_what_is_no_ssh_is_closed_and_the_next_is_served(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", ssh_server.__name__)
    reader, writer = await asyncio.open_connection(bench.address, bench.port)
    writer.write(b"GET / HTTP/1.1\r\n\r\n" * 20)
    await asyncio.wait_for(reader.read(), 60)
    writer.close()
    await until(lambda: not bench.server._connections)
    assert "serial_console_refused" in caplog.messages
    async with bench.session():
        pass


async def test_so_many_connections_and_no_more(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_server, "_MOST_CONNECTIONS", 1)
    async with bench.session():
        reader, writer = await asyncio.open_connection(bench.address, bench.port)
        assert await asyncio.wait_for(reader.read(), 60) == b"", "closed without a word"
        writer.close()
    await until(lambda: not bench.server._connections)
    async with bench.session():
        pass


async def test_nothing_but_a_session_is_offered(bench: Bench) -> None:
    async with bench.connect() as connection:
        with pytest.raises(asyncssh.Error):
            await connection.open_connection("127.0.0.1", bench.port)
        with pytest.raises(asyncssh.Error):
            await connection.start_sftp_client()


async def test_a_stop_ends_all_sessions_and_frees_the_port(bench: Bench) -> None:
    async with bench.session() as (process, session):
        await bench.server.stop()
        assert await asyncio.wait_for(session.keys.get(), 60) == b""
        await asyncio.wait_for(process.wait_closed(), 60)
    with pytest.raises(OSError, match="onnect"):
        await bench.connect()


async def test_it_listens_by_ipv6_too(bench: Bench) -> None:
    await bench.server.stop()
    bench.address = "::1"
    bench.port = bench.server.start(bench.address, 0)
    async with bench.session():
        pass
