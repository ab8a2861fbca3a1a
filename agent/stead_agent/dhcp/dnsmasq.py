"""DHCP and DNS by one dnsmasq per VPC: files are written, and the server is started, signalled or replaced."""

import grp
import os
import pwd
import shutil
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stead_agent.dhcp import server_process
from stead_agent.dhcp.dnsmasq_conf import (
    DHCP_HOSTS,
    DHCP_OPTIONS,
    DNS_HOSTS,
    ZONES,
    ServerFiles,
    configuration,
    host_files,
    leases_ipv4,
    listens,
    server_of,
)
from stead_agent.dhcp.hardware_filter import guard
from stead_agent.dhcp.interface import DhcpError, VpcDhcp
from stead_agent.dhcp.leases import Binding, nameless, read_leases, release_message, stale, without
from stead_agent.named_locks import NamedLocks

_RELEASE_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.002  # between two checks of the lease file
_DHCP_SERVER_PORT: Final = 67
_HOST_FOLDERS: Final = (DHCP_HOSTS, DHCP_OPTIONS, DNS_HOSTS)


@dataclass(frozen=True, slots=True)
class _Applied:
    """What was last applied to a VPC's server."""

    wanted: VpcDhcp
    configuration: str
    hosts: dict[str, str]


class Dnsmasq:
    """The `Dhcp` of a host; each VPC's server has a folder of its own below `folder`.

    dnsmasq runs as `user`, which needs access to all folders above: it reads its host files by itself.
    """

    def __init__(self, folder: Path, user: str = "dnsmasq") -> None:
        self._folder = folder
        self._user, self._group = _existing_user(user)
        self._applied: dict[str, _Applied] = {}
        self._vpc_locks = NamedLocks()

    def apply(self, wanted: VpcDhcp) -> None:
        """Make the VPC's server run with exactly this configuration."""
        files = self._files(wanted.vpc_id)
        now = self._applied.get(wanted.vpc_id)
        if now is None or now.wanted != wanted:  # else computed already: slow with thousands of names
            now = _Applied(wanted, configuration(wanted, files), host_files(wanted))
        with self._vpc_locks.at(wanted.vpc_id):
            if not listens(wanted):
                self._remove(files)
                return
            try:
                self._apply(now, files)
            except OSError as failure:
                raise DhcpError(f"{wanted.vpc_id}: {failure}") from failure

    def remove(self, vpc_id: str) -> None:
        """Stop the VPC's server and remove everything of it."""
        with self._vpc_locks.at(vpc_id):
            self._remove(self._files(vpc_id))

    def present(self) -> frozenset[str]:
        """List the VPCs that have a folder or a process."""
        folders = {path.name for path in self._folder.iterdir()} if self._folder.is_dir() else set()
        running = {path.parent.name for path in server_process.all_servers() if path.parent.parent == self._folder}
        return frozenset(folders | running)

    def audit(self) -> tuple[str, ...]:
        """Restart the servers that have stopped by themselves, and return which."""
        repaired = []
        for vpc_id in list(self._applied):
            files = self._files(vpc_id)
            with self._vpc_locks.at(vpc_id):
                applied = self._applied.get(vpc_id)
                if applied and server_process.find(files) is None:
                    self._apply(applied, files)
                    repaired.append(f"dnsmasq of {vpc_id} had ended")
        return tuple(repaired)

    def _apply(self, now: _Applied, files: ServerFiles) -> None:
        """Change files and server from what was applied before, by us or an earlier agent, to the desired state."""
        wanted = now.wanted
        # Forgotten until all is done: after a failure, the current state has to be read from the files.
        known = self._applied.pop(wanted.vpc_id, None)
        before = known or _Applied(wanted, _read(files.configuration), _read_hosts(files))
        pid = server_process.find(files)
        if pid and before.configuration == now.configuration and server_process.is_inside(pid, wanted.namespace):
            # An earlier agent may have stopped between writing a file and the signal: another signal makes sure of it.
            if _change_hosts(files, before.hosts, now.hosts) or not known:
                server_process.reload(files, pid)
            if not known and leases_ipv4(wanted):
                guard(pid)
            if not _release_stale(files, wanted):
                self._restart(files, before, now)
        else:
            self._restart(files, before, now)
        self._applied[wanted.vpc_id] = now

    def _restart(self, files: ServerFiles, before: _Applied, now: _Applied) -> None:
        """Start the server, replacing a running one if there is one, with files that are already right."""
        server_process.stop(files)
        self._make_folders(files)
        _change_hosts(files, before.hosts, now.hosts)
        _write(files.configuration, now.configuration)
        if leases := _read(files.leases):
            _write(files.leases, nameless(without(leases, stale(read_leases(leases), _bindings(now.wanted)))))
        pid = server_process.start(files, now.wanted.namespace)
        if leases_ipv4(now.wanted):
            guard(pid)

    def _make_folders(self, files: ServerFiles) -> None:
        """Create the server's folders and make them accessible to its user."""
        for folder in (self._folder, files.folder, *(files.folder / name for name in _HOST_FOLDERS)):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o755)
        for above in self._folder.resolve().parents:
            if not above.stat().st_mode & 0o001:
                raise DhcpError(
                    f"{above} is closed to other users, so dnsmasq ({files.user}) cannot read {files.folder}"
                )

    def _remove(self, files: ServerFiles) -> None:
        """Stop the server and delete its folder; the lock is held."""
        self._applied.pop(files.folder.name, None)
        server_process.stop(files)
        if files.folder.exists():
            shutil.rmtree(files.folder)

    def _files(self, vpc_id: str) -> ServerFiles:
        """Return a server's file paths."""
        if not vpc_id.replace("-", "").isalnum():
            raise DhcpError(f"{vpc_id!r} is no VPC id")
        return ServerFiles(self._folder / vpc_id, self._user, self._group)


def _existing_user(user: str) -> tuple[str, str]:
    """Return the user and its group, or those of `nobody` where no package has created the user."""
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        found = pwd.getpwnam("nobody")
    return found.pw_name, grp.getgrgid(found.pw_gid).gr_name


def _bindings(wanted: VpcDhcp) -> list[Binding]:
    """List the desired IPv4 address of each MAC address."""
    return [Binding(host.mac_address.lower(), host.address) for host in wanted.hosts if host.address]


def _change_hosts(files: ServerFiles, before: dict[str, str], now: dict[str, str]) -> bool:
    """Write and delete host files; return True if a running server needs a signal: it only notices new files itself."""
    for path, text in now.items():
        if before.get(path) != text:
            _write(files.folder / path, text)
    for path in before.keys() - now.keys():
        (files.folder / path).unlink(missing_ok=True)
    if before.get(ZONES) != now.get(ZONES):
        return True
    of_dhcp = (f"{DHCP_HOSTS}/", f"{DHCP_OPTIONS}/")
    return any(now.get(path) != text for path, text in before.items() if path.startswith(of_dhcp))


def _release_stale(files: ServerFiles, wanted: VpcDhcp) -> bool:
    """Release the leases that are not desired; return False when the server still has some of them."""
    right = _bindings(wanted)
    wrong = stale(read_leases(_read(files.leases)), right)
    if not wrong:
        return True
    servers = {binding: server_of(wanted, binding.address) for binding in wrong}

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for binding, server in servers.items():
                if server:
                    sock.sendto(release_message(binding, server), (server, _DHCP_SERVER_PORT))

    _inside(wanted.namespace, send)
    deadline = time.monotonic() + _RELEASE_SECONDS
    while stale(read_leases(_read(files.leases)), right):
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_SECONDS)
    return True


def _inside(namespace: Path, what: Callable[[], None]) -> None:
    """Call a function in a thread of its own inside a network namespace: setns(2) moves only the calling thread."""
    failures: list[OSError] = []

    def enter() -> None:
        try:
            file = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.setns(file, os.CLONE_NEWNET)
            finally:
                os.close(file)
            what()
        except OSError as failure:
            failures.append(failure)

    thread = threading.Thread(target=enter, name="dhcp-namespace")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


def _read(path: Path) -> str:
    """Read a file; return "" for one that does not exist."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def _read_hosts(files: ServerFiles) -> dict[str, str]:
    """Read the zones and host files that an earlier agent left."""
    folders = [files.folder / name for name in _HOST_FOLDERS if (files.folder / name).is_dir()]
    found = {f"{folder.name}/{path.name}": _read(path) for folder in folders for path in folder.iterdir()}
    if (files.folder / ZONES).exists():
        found[ZONES] = _read(files.folder / ZONES)
    return found


def _write(path: Path, text: str) -> None:
    """Replace a file atomically; dnsmasq ignores names that begin with a dot, and notices the renaming."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.chmod(0o644)
    new.replace(path)
