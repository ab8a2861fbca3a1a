"""Events that another process may trigger on simulated hosts: one JSON object a line on a unix socket.

    {"do": "crash_guest", "machine": "i-0…"}                   the host is the one that has this machine
    {"do": "fail_next", "host": "h-0…", "name": "machines.start", "error": "QEMU said no", "times": 3}
    {"do": "fill_volume", "machine": "i-0…", "volume": "vol-0…", "full": true}     pauses its guest
    {"do": "stall_volume", "machine": "i-0…", "volume": "vol-0…", "stalled": true}  none of its requests is done
    {"do": "silence_guest", "machine": "i-0…", "silent": true}                     it answers its host's ARP no longer
    {"do": "hosts"}

Each line is answered by one line: {"well": true, …} or {"well": false, "error": "…"}.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from stead_agent.logs import Log
from stead_agent.machines.interface import MachineError
from stead_agent.simulated.host import SimulatedHost

_log = Log(__name__)

Hosts = Mapping[str, SimulatedHost]


class Refused(Exception):
    """An invalid command; the message says why."""


async def serve(path: Path, hosts: Hosts) -> asyncio.Server:
    """Listen on a unix socket that only its owner may use, until the server is closed."""
    path.unlink(missing_ok=True)  # noqa: ASYNC240 - once, before anything else runs
    server = await asyncio.start_unix_server(partial(_converse, hosts), path)
    path.chmod(0o600)  # noqa: ASYNC240 - once, before anything else runs
    return server


async def _converse(hosts: Hosts, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while line := await reader.readline():
            writer.write(json.dumps(obey(hosts, line)).encode() + b"\n")
            await writer.drain()
    except ConnectionError as error:
        _log.debug("control_left", reason=str(error))
    finally:
        writer.close()


def obey(hosts: Hosts, line: bytes) -> dict[str, Any]:
    """Execute the command of a line, and return the answer."""
    try:
        command = json.loads(line)
        answer = _deed_of(command)(hosts, command)
    except (ValueError, KeyError, TypeError, Refused, MachineError) as error:
        return {"well": False, "error": f"{type(error).__name__}: {error}"}
    _log.info("done_as_asked", **{name: value for name, value in command.items() if isinstance(value, str | int)})
    return {"well": True, **(answer or {})}


def _deed_of(command: Mapping[str, Any]) -> "Deed":
    deed = _DEEDS.get(command["do"])
    if deed is None:
        raise Refused(f"nothing is called {command['do']!r}; there are: {', '.join(_DEEDS)}")
    return deed


def _host_of(hosts: Hosts, command: Mapping[str, Any]) -> SimulatedHost:
    """Find the host that a command names, or the one that has the machine it names."""
    if "host" in command:
        if command["host"] not in hosts:
            raise Refused(f"there is no host {command['host']}")
        return hosts[command["host"]]
    for host in hosts.values():
        if command["machine"] in host.world.objects.guests:
            return host
    raise Refused(f"no host has a machine {command['machine']}")


def _hosts(hosts: Hosts, _command: Mapping[str, Any]) -> dict[str, Any]:
    return {"hosts": {host_id: {"running": sorted(host.running())} for host_id, host in hosts.items()}}


def _remains(hosts: Hosts, command: Mapping[str, Any]) -> dict[str, Any]:
    host = _host_of(hosts, command)
    return {"remains": host.remains(), "violations": host.violations}


def _guest(do: Callable[[SimulatedHost, str], None]) -> Callable[[Hosts, Mapping[str, Any]], None]:
    return lambda hosts, command: do(_host_of(hosts, command), command["machine"])


def _fail_next(hosts: Hosts, command: Mapping[str, Any]) -> None:
    error = MachineError(command.get("error", "as asked"))
    _host_of(hosts, command).fail_next(
        command["name"], error, times=int(command.get("times", 1)), after=bool(command.get("after", False))
    )


def _libvirt_away(hosts: Hosts, command: Mapping[str, Any]) -> None:
    _host_of(hosts, command).set_libvirt_away(away=bool(command["away"]))


def _fill_volume(hosts: Hosts, command: Mapping[str, Any]) -> None:
    _host_of(hosts, command).fill_volume(command["machine"], command["volume"], full=bool(command["full"]))


def _stall_volume(hosts: Hosts, command: Mapping[str, Any]) -> None:
    _host_of(hosts, command).stall_volume(command["machine"], command["volume"], stalled=bool(command["stalled"]))


def _silence_guest(hosts: Hosts, command: Mapping[str, Any]) -> None:
    _host_of(hosts, command).silence_guest(command["machine"], silent=bool(command["silent"]))


Deed = Callable[[Hosts, Mapping[str, Any]], dict[str, Any] | None]
_DEEDS: dict[str, Deed] = {
    "hosts": _hosts,
    "remains": _remains,
    "power_off_guest": _guest(SimulatedHost.power_off_guest),
    "crash_guest": _guest(SimulatedHost.crash_guest),
    "hang_guest": _guest(SimulatedHost.hang_guest),
    "fail_next": _fail_next,
    "libvirt_away": _libvirt_away,
    "fill_volume": _fill_volume,
    "stall_volume": _stall_volume,
    "silence_guest": _silence_guest,
}
