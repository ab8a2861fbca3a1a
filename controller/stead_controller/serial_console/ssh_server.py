"""The SSH server of serial consoles: `ssh i-….port0@…` with a pushed key is a session at that serial port."""

import asyncio
import importlib
import logging
import re
import socket
from typing import Any, Final

from stead_controller.clock import Clock
from stead_controller.db.session import Database
from stead_controller.errors import SteadError
from stead_controller.hosts.consoles import Consoles, ConsoleSession
from stead_controller.resources.instances import serial_console
from stead_controller.resources.instances.serial_console import Console

_log = logging.getLogger(__name__)

_USER: Final = re.compile(r"(i-[0-9a-f]{8,17})\.port0")
_LOGIN_SECONDS: Final = 30
_MOST_CONNECTIONS: Final = 100
_PIECE: Final = 4096


class SerialConsoleServer:
    """Listens while it is started; belongs to the event loop."""

    def __init__(self, database: Database, consoles: Consoles, host_key: bytes, clock: Clock) -> None:
        """Store the dependencies; `host_key` is in OpenSSH's form."""
        self._database = database
        self._consoles = consoles
        self._host_key = host_key
        self._clock = clock
        self._connections: set[asyncio.Task[None]] = set()
        self._socket: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None

    def start(self, address: str, port: int) -> int:
        """Listen, and return the port: another one than the given if that is 0."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = socket.create_server((address, port), family=family)
        self._socket.setblocking(False)
        self._accepting = asyncio.create_task(self._accept(self._socket))
        return int(self._socket.getsockname()[1])

    async def stop(self) -> None:
        """Close the port and end all sessions."""
        tasks = [*self._connections, *([self._accepting] if self._accepting else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._socket is not None:
            self._socket.close()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(listener)
            if len(self._connections) >= _MOST_CONNECTIONS:
                connection.close()
                continue
            task = asyncio.create_task(self._serve(connection))
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)

    async def _serve(self, connection: socket.socket) -> None:
        """Serve one connection to its end."""
        ssh = await asyncio.to_thread(importlib.import_module, "asyncssh")
        login = _login(ssh, self)
        try:
            served = await ssh.run_server(
                connection,
                server_factory=lambda: login,
                process_factory=lambda process: self._session(ssh, process, login.console),
                server_host_keys=[ssh.import_private_key(self._host_key)],
                login_timeout=_LOGIN_SECONDS,
                keepalive_interval=_LOGIN_SECONDS,
                encoding=None,
                line_editor=False,
                agent_forwarding=False,
                allow_scp=False,
            )
        except (ssh.Error, OSError) as error:  # a client that is none, or is gone again
            _log.info("serial_console_refused", extra={"reason": str(error)})
            connection.close()
            return
        try:
            await served.wait_closed()
        finally:
            served.abort()

    async def console_of(self, username: str, openssh: str) -> Console | None:
        """Return the console that a key opens for who calls himself so; None if it opens none."""
        named = _USER.fullmatch(username)
        if named is None:
            return None
        instance_id, now = named[1], self._clock()
        return await self._database.run(
            lambda tx: serial_console.opened_by(tx, instance_id, openssh, now), writes=False
        )

    async def _session(self, ssh: Any, process: Any, console: Console) -> None:
        """Join a person at an SSH client with a serial port until either ends."""
        try:
            async with self._consoles.session(console.host_id, console.instance_id) as session:
                _log.info("serial_console_opened", extra={"instance": console.instance_id})
                typing = asyncio.create_task(_type(ssh, process, session))
                try:
                    while text := await session.read():
                        process.stdout.write(text)
                        await process.stdout.drain()
                finally:
                    typing.cancel()
            process.exit(0)
        except SteadError as error:
            process.stderr.write(f"{error.message}\r\n".encode())
            process.exit(1)
        except OSError:  # the client is gone
            process.close()


async def _type(ssh: Any, process: Any, session: ConsoleSession) -> None:
    """Carry what is typed, until the client's end of input or of its connection."""
    try:
        keys = b"."
        while keys:
            try:
                keys = await process.stdin.read(_PIECE)
            except (ssh.TerminalSizeChanged, ssh.BreakReceived, ssh.SignalReceived):
                continue  # a serial port knows none of them
            await session.write(keys)
    except (ssh.Error, OSError) as error:
        _log.info("serial_console_left", extra={"reason": str(error)})
    finally:
        session.end()


def _login(ssh: Any, server: SerialConsoleServer) -> Any:
    """Make the one who decides about a connection; a class of a module that is loaded only here."""

    class Login(ssh.SSHServer):  # type: ignore[misc]  # a class of Any
        """Lets in whom a pushed key does; `console` is then what the key opens."""

        console: Console

        def begin_auth(self, username: str) -> bool:
            """Demand a proof of everybody."""
            del username
            return True

        def public_key_auth_supported(self) -> bool:
            """Offer keys, and nothing else."""
            return True

        async def validate_public_key(self, username: str, key: Any) -> bool:
            """Tell whether a key opens the console that the user's name says."""
            openssh = key.export_public_key("openssh").decode("ascii")
            found = await server.console_of(username, openssh)
            if found is None:
                return False
            self.console = found
            return True

    return Login()
