"""Machines that systemd has booted, on one link and reached by SSH: what the playbooks of `ansible/` are for.

Their files are this machine's, so Debian's packages are there already; all else is new: no user, no unit, no cloud.
They are at 10.99.0.11 and on in 10.99.0.0/16, of which 10.99.1.0/24 is theirs to give to guests.
"""

import contextlib
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal

from tests.support import booted, outside_clients
from tests.support.booted import Machine
from tests.support.waiting import wait_for

BRIDGE: Final = "rack0"
GATEWAY: Final = "10.99.0.1"
POOL: Final = "10.99.1.0/24"
VIRTUAL: Final = "10.99.0.10"
"""An address of no machine."""

_SSH_UNIT: Final = """\
[Service]
RuntimeDirectory=sshd
ExecStart=/usr/sbin/sshd -D -e -f /etc/ssh/rack.conf
KillMode=process
"""
_SSH_CONFIG: Final = """\
HostKey /etc/ssh/rack_key
AuthorizedKeysFile /etc/ssh/rack_authorized
PasswordAuthentication no
Subsystem sftp internal-sftp
"""


@dataclass
class Server:
    """A machine of the rack."""

    name: str
    address: str
    machine: Machine


@dataclass
class Rack:
    """Machines, and the key with which root logs in to them."""

    folder: Path
    servers: list[Server]

    @property
    def key(self) -> Path:
        """The private key."""
        return self.folder / "key"

    @property
    def ssh_options(self) -> list[str]:
        """Options of ssh with which it asks nothing, and believes no other host key than those of these machines."""
        known = self.folder / "known_hosts"
        return [
            f"-oUserKnownHostsFile={known}",
            "-oBatchMode=yes",
            f"-oIdentityFile={self.key}",
            "-oIdentitiesOnly=yes",
        ]

    def enters(self, server: Server) -> bool:
        """Tell whether SSH lets root in."""
        return _run("ssh", *self.ssh_options, "-oConnectTimeout=5", f"root@{server.address}", "true", check=False) == 0


@contextlib.contextmanager
def rack(folder: Path, count: int) -> Iterator[Rack]:
    """Boot so many machines, and return when all take SSH; `folder` gets the keys. Raises CannotBootError."""
    _keys(folder)
    with contextlib.ExitStack() as stack:
        servers = [
            Server(f"rack-{number}", f"10.99.0.{10 + number}", stack.enter_context(booted.machine()))
            for number in range(1, count + 1)
        ]
        stack.enter_context(_bridge())
        made = Rack(folder, servers)
        for server in servers:
            _prepare(server, folder)
        with ThreadPoolExecutor() as pool:
            list(pool.map(_boot, servers))
        known = "".join(f"{server.address} {(folder / 'host_key.pub').read_text()}" for server in servers)
        (folder / "known_hosts").write_text(known)
        for server in servers:
            wait_for(partial(made.enters, server), f"{server.name} takes SSH", 60)
        yield made


def link(server: Server, state: Literal["up", "down"]) -> None:
    """Cut a machine off from the others, or connect it again."""
    _run("ip", "link", "set", f"to-{server.name}", state)


def copy_to(made: Rack, server: Server, file: Path) -> None:
    """Copy a file to root's folder there."""
    _run("scp", "-q", *made.ssh_options, file, f"root@{server.address}:")


def _keys(folder: Path) -> None:
    for name in ("key", "host_key"):
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", folder / name)


@contextlib.contextmanager
def _bridge() -> Iterator[None]:
    _run("ip", "link", "add", BRIDGE, "type", "bridge")
    try:
        _run("ip", "address", "add", f"{GATEWAY}/16", "dev", BRIDGE)
        _run("ip", "link", "set", BRIDGE, "up")
        yield
    finally:
        _run("ip", "link", "delete", BRIDGE)


def _prepare(server: Server, keys: Path) -> None:
    """Give a machine that was not booted yet a name, an SSH server and who may log in."""
    upper = server.machine.folder / "upper"
    shutil.copytree(outside_clients.folder_of("ssh-server") / "debian", upper, symlinks=True, dirs_exist_ok=True)
    (upper / "var/lib/apt/lists").mkdir(parents=True)  # of now: apt asks for no newer ones, which nobody here has
    etc = upper / "etc"
    (etc / "hostname").write_text(f"{server.name}\n")
    (etc / "machine-id").write_text(f"{uuid.uuid4().hex}\n")
    (etc / "ssh/rack.conf").write_text(_SSH_CONFIG)
    shutil.copyfile(keys / "host_key", etc / "ssh/rack_key")
    (etc / "ssh/rack_key").chmod(0o600)
    shutil.copyfile(keys / "key.pub", etc / "ssh/rack_authorized")
    (etc / "systemd/system/rack-ssh.service").write_text(_SSH_UNIT)


def _boot(server: Server) -> None:
    machine = server.machine
    machine.boot()
    machine.must("systemd-sysusers")  # sshd's
    outer = f"to-{server.name}"
    _run("ip", "link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", str(machine.pid))
    _run("ip", "link", "set", outer, "master", BRIDGE, "up")
    machine.must("ip", "address", "add", f"{server.address}/16", "dev", "eth0")
    machine.must("ip", "link", "set", "eth0", "up")
    machine.must("ip", "route", "add", "default", "via", GATEWAY)
    machine.must("systemctl", "start", "rack-ssh")


def _run(*command: str | Path, check: bool = True) -> int:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 or not check, f"{command}: {done.stderr}"
    return done.returncode
