"""Lets guests' QEMUs reach the homes of volumes themselves, past the proxies of their host: two hops become one.

Libvirt attaches a disk to the socket of the proxy and knows nothing else. Behind that the device is moved to a node of
our own (`direct_nodes.py`) when its home lets it in, and back before anything is done to libvirt's node: a backup, past
whose filter the guest would write, or growth. Where it cannot be, for whatever reason, the guest stays with the proxy.

QEMU's main loop, and so the guest, waits for a connection that is made, and for all requests under way, of whichever
disk, while nodes are added, moved or removed. So none of it is begun before the homes of all of the guest's disks have
just answered; and one that is away, and serves somebody else now, is not waited for: then what the guest has asked of
it fails (`cut_off`).

What is so is read from QEMU each time. Only which homes are wanted, and what failed, is in memory.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import libvirt

from stead_agent.disks.attachment_credentials import CredentialsError, NoCredentialsError
from stead_agent.disks.disk_users import uid_of
from stead_agent.disks.nbd import secured
from stead_agent.disks.nbd.wire import NbdError
from stead_agent.logs import Log
from stead_agent.machines import direct_nodes
from stead_agent.machines.chores import Chores
from stead_agent.machines.direct_nodes import PluggedDisk, Seen
from stead_agent.machines.interface import DiskHome, MachineError
from stead_agent.machines.monitor import MonitorError, execute
from stead_proto import tls
from stead_proto.tls import Identity

_log = Log(__name__)

_HOME_SECONDS: Final = 2.0  # that a home may take to answer
_SOON_SECONDS: Final = 60.0  # until what may pass is tried again
_RARELY_SECONDS: Final = 900.0  # until what only an upgrade changes is
_BUSY_SECONDS: Final = 5.0  # between looks whether a backup has ended
_LOOK_SECONDS: Final = 6 * 3600.0
_RENEWAL_SECONDS: Final = 60 * 86400.0  # before its credentials end, a guest gets others
_JOB_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.01
_FOLDER: Final = "stead-direct"


class NotNowError(MachineError):
    """A guest cannot be moved to the home now, or back."""


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a guest stays with a proxy, and until when that is not tried again."""

    reason: str
    until: float


class DirectDisks:
    """The disks of one agent's guests that have their homes elsewhere."""

    def __init__(
        self,
        running: Callable[[str], AbstractContextManager[Any]],
        credentials: Callable[[str, int], Identity] | None,
        state: Path,
    ) -> None:
        """Move nothing yet; without `credentials` nothing is moved to a home, ever.

        `running` gives libvirt's handle of a guest that runs, or None, with nobody else being busy with it; `state` is
        libvirt's folder with one for each of them, in which its QEMU may read, also where AppArmor confines it.
        """
        self._running = running
        self._credentials = credentials
        self._state = state
        self._lock = threading.Lock()
        self._homes: dict[str, dict[str, DiskHome]] = {}  # by machine and volume
        self._clean: set[str] = set()  # machines that have no home to reach, and nothing of ours in their QEMUs
        self._due: set[str] = set()
        self._later: dict[str, float] = {}  # when machines are to be looked at again, by the clock of `monotonic`
        self._is_looking = False
        self._failures: dict[tuple[str, str, int], _Failure] = {}
        self._chores = Chores("direct-disks")
        if credentials is not None:
            self._chores.later(_LOOK_SECONDS, self._look_at_all)

    def want(self, machine_id: str, homes: Collection[DiskHome]) -> None:
        """Have a guest reach these homes itself, and no others, as soon as may be; returns at once."""
        with self._lock:
            if not homes and machine_id in self._clean and machine_id not in self._homes:
                return
            self._clean.discard(machine_id)
            self._homes[machine_id] = {home.volume_id: home for home in homes}
            keys = {(machine_id, home.volume_id, home.generation) for home in homes}
            self._forget_failures(machine_id, keys)
        self.look_soon(machine_id)

    def look_soon(self, machine_id: str) -> None:
        """Look whether a guest can be moved to its disks' homes; to be called when a reason why not is gone."""
        with self._lock:
            if self._credentials is None or machine_id not in self._homes or machine_id in self._due:
                return
            self._due.add(machine_id)
        self._chores.soon(partial(self._look, machine_id))

    def started(self, machine_id: str) -> None:
        """Know that a guest has just been started: its QEMU has nothing of ours."""
        self.forget(machine_id)
        with self._lock:
            self._clean.add(machine_id)

    def forget(self, machine_id: str) -> None:
        """Forget a machine whose guest has ended for good."""
        with self._lock:
            self._homes.pop(machine_id, None)
            self._clean.discard(machine_id)
            self._forget_failures(machine_id, ())

    def fall_back(self, domain: Any, volume_ids: Collection[str]) -> None:
        """Have a guest use these volumes by the proxies, so that libvirt's nodes are what it uses.

        The caller has the machine for itself. Raises NotNowError when a home does not answer, and MonitorError.
        """
        seen = look(domain)
        direct = {each: seen.disks[each] for each in volume_ids if each in seen.disks and seen.disks[each].is_direct}
        if direct:
            self._ask_homes(domain.name(), seen)
        for volume_id, disk in direct.items():
            _move(domain, disk, disk.proxy_node)
            _remove(domain, seen, disk.node)
            _log.info("volume_by_proxy_again", volume=volume_id, machine=domain.name())

    def cut_off(self, domain: Any, volume_id: str) -> None:
        """Let all fail that a guest asks of a volume's home itself; the caller has the machine for itself.

        While a home of another of its disks is away, too, only what waits for answers fails, since the guest would wait
        for the other one; what waits for a connection fails by itself, ten minutes after it was lost.
        """
        seen = look(domain)
        for name in seen.nodes_of(volume_id):
            _yank(domain, name)
            try:
                self._ask_homes(domain.name(), seen, but=volume_id)
            except NotNowError as error:
                _log.warning("volume_not_cut_off", volume=volume_id, machine=domain.name(), reason=str(error))
                continue
            _end_job(domain, name)
            _log.warning("volume_cut_off", volume=volume_id, machine=domain.name())

    def is_idle(self) -> bool:
        """Tell whether nothing is being tried, nor about to be."""
        with self._lock:
            return not self._due and not self._is_looking

    def close(self) -> None:
        """End our thread; guests reach what they reach."""
        self._chores.close()

    # -- looking

    def _forget_failures(self, machine_id: str, but: Collection[tuple[str, str, int]]) -> None:
        for key in [key for key in self._failures if key[0] == machine_id and key not in but]:
            del self._failures[key]

    def _look_at_all(self) -> None:
        """Look at all guests now and then: credentials are renewed, and what failed is tried again."""
        self._chores.later(_LOOK_SECONDS, self._look_at_all)
        with self._lock:
            machine_ids = list(self._homes)
        for machine_id in machine_ids:
            self.look_soon(machine_id)

    def _look(self, machine_id: str) -> None:
        """Look at a guest whose turn it is."""
        with self._lock:
            self._due.discard(machine_id)
            self._is_looking = True
            homes = dict(self._homes.get(machine_id, {}))
        try:
            self._follow(machine_id, homes)
        except NotNowError:
            self._look_later(machine_id, _SOON_SECONDS)
            raise
        finally:
            with self._lock:
                self._is_looking = False

    def _follow(self, machine_id: str, homes: dict[str, DiskHome]) -> None:
        """Make what is in a guest's QEMU what is wanted."""
        with self._running(machine_id) as domain:
            seen = look(domain) if domain is not None else Seen()
            missing = self._tidy(machine_id, domain, seen, homes) if domain is not None else []
        if not homes and not seen.nodes and not seen.objects and not seen.sources:
            with self._lock:
                if not self._homes.get(machine_id):
                    self._homes.pop(machine_id, None)
                    self._clean.add(machine_id)
        for home in missing:
            key = (machine_id, home.volume_id, home.generation)
            with self._lock:
                failure = self._failures.get(key)
            if failure is not None and (seconds := failure.until - time.monotonic()) > 0:
                self._look_later(machine_id, seconds)
                continue
            try:
                self._reach(machine_id, home)
            except (CredentialsError, NbdError, MachineError, OSError, libvirt.libvirtError) as error:
                self._put_off(key, error)
            else:
                with self._lock:
                    self._failures.pop(key, None)

    def _tidy(self, machine_id: str, domain: Any, seen: Seen, homes: dict[str, DiskHome]) -> list[DiskHome]:
        """Remove of ours what nobody uses or may use; gives the homes that the guest does not reach itself."""
        with contextlib.suppress(FileNotFoundError):  # the guest has just ended
            _sweep_below(self._folder(domain))
        if seen.unused or seen.needless:
            self._ask_homes(machine_id, seen)
        for name in seen.unused:
            _remove(domain, seen, name)
        for object_id in seen.needless:
            execute(domain, "object-del", {"id": object_id})
        missing = []
        for volume_id, disk in seen.disks.items():
            home = homes.get(volume_id)
            if home is None:
                continue  # it is being taken from the guest
            if disk.is_direct and disk.node != direct_nodes.node_name(volume_id, home.generation):
                # Its home serves another attachment, so what the guest asked of that one could never be answered.
                _yank(domain, disk.node)
                self._ask_homes(machine_id, seen, but=volume_id)
                _end_job(domain, disk.node)
                _move(domain, disk, disk.proxy_node)
                _remove(domain, seen, disk.node)
            elif disk.is_direct and seen.credentials_end(disk.node) < time.time() + _RENEWAL_SECONDS:
                self.fall_back(domain, [volume_id])
            elif disk.is_direct:
                continue
            elif disk.node != disk.proxy_node:  # libvirt has put a backup's filter before it
                self._look_later(machine_id, _BUSY_SECONDS)
                continue
            elif not disk.is_shareable:
                self._put_off(
                    (machine_id, volume_id, home.generation),
                    MonitorError("it was plugged in by an earlier agent, and stays so until it is plugged in anew"),
                )
                continue
            missing.append(home)
        return missing

    def _put_off(self, key: tuple[str, str, int], error: Exception) -> None:
        """Note why a guest stays with a proxy, say so once, and try again: soon what may pass, else rarely."""
        passes = not isinstance(error, NoCredentialsError | secured.NotLetInError | MonitorError)
        seconds = _SOON_SECONDS if passes else _RARELY_SECONDS
        reason = type(error).__name__
        with self._lock:
            before = self._failures.get(key)
            self._failures[key] = _Failure(reason, time.monotonic() + seconds)
        if before is None or before.reason != reason:
            _log.info("volume_stays_with_proxy", machine=key[0], volume=key[1], reason=str(error))
        self._look_later(key[0], seconds)

    def _look_later(self, machine_id: str, seconds: float) -> None:
        """Look at a guest again in so many seconds, unless that is to be sooner."""
        due = time.monotonic() + seconds
        with self._lock:
            if self._later.get(machine_id, due) < due:
                return
            self._later[machine_id] = due
        self._chores.later(seconds, partial(self._look_again, machine_id, due))

    def _look_again(self, machine_id: str, due: float) -> None:
        with self._lock:
            if self._later.get(machine_id) != due:
                return
            del self._later[machine_id]
        self.look_soon(machine_id)

    def _ask_homes(self, machine_id: str, seen: Seen, *, but: str = "") -> None:
        """Return when the homes of all of a guest's disks answer; raises NotNowError."""
        with self._lock:
            wanted = self._homes.get(machine_id, {}).values()
            servers = {secured.Server(home.address, home.port) for home in wanted if home.volume_id != but}
        for name in seen.waiting - (seen.nodes_of(but) if but else frozenset()):
            servers.add(secured.Server(seen.nodes[name].address, seen.nodes[name].port))
        for server in servers:
            try:
                secured.is_there(server, _HOME_SECONDS)
            except NbdError as error:
                raise NotNowError(f"{machine_id}: a home of its disks does not answer: {error}") from error

    # -- moving

    def _reach(self, machine_id: str, home: DiskHome) -> None:
        """Move a guest from the proxy to the home, which has just let us in with what its QEMU is to show."""
        assert self._credentials is not None, "without, nothing is looked at"
        identity = self._credentials(home.volume_id, home.generation)
        server = secured.Server(home.address, home.port, tls.host_server_name(home.host_id))
        secured.size_of(server, home.volume_id, identity, _HOME_SECONDS)
        with self._running(machine_id) as domain:
            with self._lock:
                is_wanted = self._homes.get(machine_id, {}).get(home.volume_id) == home
            if domain is None or not is_wanted:
                return
            seen = look(domain)
            disk = seen.disks.get(home.volume_id)
            if disk is None or disk.is_direct:
                return
            if disk.node != disk.proxy_node:
                raise NotNowError(f"{home.volume_id}: it is being backed up")
            self._ask_homes(machine_id, seen)
            self._connect(domain, disk, home, identity)
        _log.info("volume_reached_directly", volume=home.volume_id, machine=machine_id, home=home.host_id)

    def _connect(self, domain: Any, disk: PluggedDisk, home: DiskHome, identity: Identity) -> None:
        """Give QEMU credentials and a node, and move the disk's device to it; what fails halfway leaves nothing."""
        name = direct_nodes.node_name(home.volume_id, home.generation)
        object_id = direct_nodes.credentials_id(name, int(tls.lifetime(identity.certificate_pem)[1].timestamp()))
        try:
            with _shown(self._folder(domain), identity, uid_of(domain.name())) as place:
                execute(domain, "object-add", direct_nodes.credentials(object_id, place))
            execute(domain, "blockdev-add", direct_nodes.node(home, object_id))
            size = look(domain).nodes[name].size
            if size != disk.proxy_size:
                raise NotNowError(f"{home.volume_id}: {size} bytes at home, {disk.proxy_size} by the proxy yet")
            for command, arguments in direct_nodes.breaker(name, size):
                execute(domain, command, arguments)
            _move(domain, disk, name)
        except (MachineError, libvirt.libvirtError):
            _remove(domain, look(domain), name)
            raise

    def _folder(self, domain: Any) -> Path:
        """Name libvirt's folder of a guest that runs."""
        return self._state / f"domain-{domain.ID()}-{domain.name()}"


def look(domain: Any) -> Seen:
    """Ask a QEMU what it has of other hosts' volumes."""
    told = execute(domain, "query-named-block-nodes", {"flat": True})
    objects = direct_nodes.credential_objects(execute(domain, "qom-list", {"path": "/objects"}))
    sizes = direct_nodes.sizes(told)
    disks = {}
    for volume_id, (device, number) in direct_nodes.devices(domain.XMLDesc(0)).items():
        with contextlib.suppress(MonitorError):  # the guest has let go of it in this moment
            node = str(execute(domain, "qom-get", {"path": device, "property": "drive"}))
            proxy = direct_nodes.proxy_node(number, sizes)
            is_shareable = bool(execute(domain, "qom-get", {"path": device, "property": "share-rw"}))
            disks[volume_id] = PluggedDisk(device, node, proxy, sizes.get(proxy, 0), is_shareable)
    return Seen(disks, direct_nodes.direct_nodes(told), objects, direct_nodes.job_sources(sizes))


def _move(domain: Any, disk: PluggedDisk, node: str) -> None:
    """Let a disk's device use another node, once its requests under way have ended."""
    execute(domain, "qom-set", {"path": disk.device, "property": "drive", "value": node})


def _yank(domain: Any, node: str) -> None:
    """Break a node's connection, if it has one, for good: what waits for answers fails."""
    execute(domain, "yank", {"instances": [{"type": "block-node", "node-name": node}]})


def _end_job(domain: Any, node: str) -> None:
    """Cancel the job of a node, if it has one: what waits for a connection fails. Its source goes, too."""
    deadline = time.monotonic() + _JOB_SECONDS
    told = False
    while any(each["id"] == node for each in execute(domain, "query-jobs")):
        if not told:
            execute(domain, "block-job-cancel", {"device": node, "force": True})
            told = True
        elif time.monotonic() > deadline:
            raise MonitorError(f"{node}: its job does not end")
        else:
            time.sleep(_POLL_SECONDS)
    _delete(domain, direct_nodes.source_of(node))


def _delete(domain: Any, node: str) -> None:
    """Remove a node that nothing uses, if it is there."""
    if any(each.get("node-name") == node for each in execute(domain, "query-named-block-nodes", {"flat": True})):
        execute(domain, "blockdev-del", {"node-name": node})


def _remove(domain: Any, seen: Seen, node: str) -> None:
    """Remove a node that no disk uses, as far as it is there, with its job and what it showed its home.

    QEMU flushes a node that it removes, and would wait for a home that has ended since: so the connection is broken
    first. What the guest wanted flushed has been; the rest the home writes down by itself.
    """
    if node in seen.nodes:
        _yank(domain, node)
    _end_job(domain, node)
    _delete(domain, node)
    for object_id in _objects_of(seen, node):
        execute(domain, "object-del", {"id": object_id})


def _objects_of(seen: Seen, node: str) -> Iterable[str]:
    return [each for each in seen.objects if direct_nodes.node_of_credentials(each) == node]


@contextlib.contextmanager
def _shown(folder: Path, identity: Identity, uid: int) -> Iterator[Path]:
    """Let a guest's QEMU read a key and certificates by its names for them, within this `with` and no longer.

    The folder is that QEMU's user's, who may put links there: none is followed, and nothing of anybody's is given away.
    """
    files = {
        "ca-cert.pem": identity.ca_pem,
        "client-cert.pem": identity.certificate_pem,
        "client-key.pem": identity.key_pem,
    }
    flags = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.ExitStack() as opened:
        above = os.open(folder, flags)
        opened.callback(os.close, above)
        _sweep(above, flags)
        os.mkdir(_FOLDER, 0o700, dir_fd=above)
        opened.callback(_sweep, above, flags)
        place = os.open(_FOLDER, flags, dir_fd=above)
        opened.callback(os.close, place)
        for name, content in files.items():
            handle = os.open(
                name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=place
            )
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                os.fchown(handle, uid, uid)
        os.fchown(place, uid, uid)
        yield folder / _FOLDER


def _sweep_below(folder: Path) -> None:
    """Remove what an agent that was cut off left for a guest's QEMU to read."""
    flags = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    above = os.open(folder, flags)
    try:
        _sweep(above, flags)
    finally:
        os.close(above)


def _sweep(above: int, flags: int) -> None:
    """Remove our folder with its files, if it is there."""
    try:
        place = os.open(_FOLDER, flags, dir_fd=above)
    except FileNotFoundError:
        return
    try:
        for name in [entry.name for entry in os.scandir(place)]:
            os.unlink(name, dir_fd=place)
    finally:
        os.close(place)
    os.rmdir(_FOLDER, dir_fd=above)
