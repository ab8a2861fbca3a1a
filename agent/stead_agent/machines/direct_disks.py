"""Connects guests' QEMUs directly to the homes of volumes, bypassing the proxies of their host: one hop instead of two.

Libvirt attaches a disk to the socket of the proxy and knows nothing else. Then the device is moved to a block node of
our own (`direct_nodes.py`) when the home admits it, and back before any operation on libvirt's node: a backup, whose
filter the guest's writes would bypass, or growth. If a move is not possible, the guest keeps using the proxy.

QEMU's main loop, and so the guest, blocks while a connection is opened, and while nodes are added, moved or removed it
blocks on the requests in flight of all disks. So none of it is begun before the homes of all of the guest's disks have
just answered. A home that is unreachable and serves another host now is not waited for: the guest's requests to it
fail (`cut_off`).

The current state is read from QEMU each time. Only the desired homes, and failures, are held in memory.
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
from stead_agent.logs import Log
from stead_agent.machines import direct_nodes
from stead_agent.machines.chores import Chores
from stead_agent.machines.direct_nodes import PluggedDisk, Seen
from stead_agent.machines.interface import DiskHome, MachineError, MachinesUnavailableError
from stead_agent.machines.monitor import MonitorError, execute
from stead_proto import tls
from stead_proto.nbd.wire import NbdError
from stead_proto.tls import Identity

_log = Log(__name__)

_HOME_SECONDS: Final = 2.0  # time limit for a home to answer
_SOON_SECONDS: Final = 60.0  # until a temporary failure is tried again
_RARELY_SECONDS: Final = 900.0  # until a failure that only an upgrade can change is tried again
_BUSY_SECONDS: Final = 5.0  # between checks whether a backup has ended
_LOOK_SECONDS: Final = 6 * 3600.0
_RENEWAL_SECONDS: Final = 60 * 86400.0  # so long before its credentials expire, a guest gets new ones
_JOB_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.01
_FOLDER: Final = "stead-direct"


class NotNowError(MachineError):
    """A guest cannot be moved to the home, or back, now."""


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a guest stays with a proxy, and when a move is tried again."""

    reason: str
    until: float


class DirectDisks:
    """The disks of one agent's guests whose homes are other hosts."""

    def __init__(
        self,
        running: Callable[[str], AbstractContextManager[Any]],
        credentials: Callable[[str, int], Identity] | None,
        state: Path,
    ) -> None:
        """Move nothing yet; without `credentials` nothing is ever moved to a home.

        `running` yields libvirt's handle of a running guest, or None, and locks the machine; `state` is libvirt's
        folder with a folder for each guest that its QEMU may read, even when confined by AppArmor.
        """
        self._running = running
        self._credentials = credentials
        self._state = state
        self._lock = threading.Lock()
        self._homes: dict[str, dict[str, DiskHome]] = {}  # by machine and volume
        self._clean: set[str] = set()  # machines without homes to reach, and without nodes of ours in their QEMUs
        self._due: set[str] = set()
        self._later: dict[str, float] = {}  # when machines are to be checked again, by `monotonic`
        self._is_looking = False
        self._authorities = b""  # unknown: of a controller of an earlier release
        self._admitted = b""  # the authorities that homes were last said to admit
        self._failures: dict[tuple[str, str, int], _Failure] = {}
        self._chores = Chores("direct-disks")
        if credentials is not None:
            self._chores.later(_LOOK_SECONDS, self._look_at_all)

    def begin_with(self, authorities: bytes) -> None:
        """Take these authorities for those of this host, until `renew` says that there are others.

        Guests that were connected by credentials of others are moved to their proxies: a connection that breaks could
        not be made again, and what the guest has asked would wait. A proxy takes the host's certificate of its time.
        """
        with self._lock:
            self._authorities = authorities

    def want(self, machine_id: str, homes: Collection[DiskHome]) -> None:
        """Set the homes that a guest is to reach directly, and no others, as soon as possible; returns at once."""
        with self._lock:
            if not homes and machine_id in self._clean and machine_id not in self._homes:
                return
            self._clean.discard(machine_id)
            self._homes[machine_id] = {home.volume_id: home for home in homes}
            keys = {(machine_id, home.volume_id, home.generation) for home in homes}
            self._forget_failures(machine_id, keys)
        self.look_soon(machine_id)

    def look_soon(self, machine_id: str) -> None:
        """Check soon whether a guest can be moved to its disks' homes; to be called when an obstacle is gone."""
        with self._lock:
            if self._credentials is None or machine_id not in self._homes or machine_id in self._due:
                return
            self._due.add(machine_id)
        self._chores.soon(partial(self._look, machine_id))

    def renew(self, authorities: bytes, present: Callable[[], Iterable[str]]) -> bool:
        """Have all guests use credentials that came with these authorities; tell whether they do.

        To be called when the homes admit them: what was refused before is tried again.
        """
        with self._lock:
            refused = {key[0] for key in self._failures} if authorities != self._admitted else set()
            self._authorities = self._admitted = authorities
            if refused:
                self._failures.clear()
        for machine_id in refused:
            self.look_soon(machine_id)
        try:
            others = [each for each in present() if not self._has_only(each, authorities)]
        except MachinesUnavailableError:
            return False
        for machine_id in others:
            self.look_soon(machine_id)
        return not others

    def _has_only(self, machine_id: str, authorities: bytes) -> bool:
        try:
            with self._running(machine_id) as domain:
                seen = look(domain) if domain is not None else Seen()
        except (MachineError, libvirt.libvirtError) as error:
            _log.warning("credentials_not_known", machine=machine_id, reason=str(error))
            return False
        return all(seen.are_of(name, authorities) for name in seen.nodes)

    def started(self, machine_id: str) -> None:
        """Note that a guest has just been started: its QEMU has no nodes of ours."""
        self.forget(machine_id)
        with self._lock:
            self._clean.add(machine_id)

    def forget(self, machine_id: str) -> None:
        """Forget a machine whose guest has finally ended."""
        with self._lock:
            self._homes.pop(machine_id, None)
            self._clean.discard(machine_id)
            self._forget_failures(machine_id, ())

    def fall_back(self, domain: Any, volume_ids: Collection[str]) -> None:
        """Move these volumes of a guest back to the proxies, so that it uses libvirt's nodes.

        The caller holds the machine's lock. Raises NotNowError when a home does not answer, and MonitorError.
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
        """Make all direct requests of a guest to a volume's home fail; the caller holds the machine's lock.

        While the home of another of its disks is unreachable, too, only requests that wait for answers fail, since the
        guest would block on the other home; requests that wait for a connection fail ten minutes after it was lost.
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
        """Tell whether no attempt is running or due."""
        with self._lock:
            return not self._due and not self._is_looking

    def close(self) -> None:
        """End our thread; guests keep their connections."""
        self._chores.close()

    # -- checking

    def _forget_failures(self, machine_id: str, but: Collection[tuple[str, str, int]]) -> None:
        for key in [key for key in self._failures if key[0] == machine_id and key not in but]:
            del self._failures[key]

    def _look_at_all(self) -> None:
        """Check all guests periodically: credentials are renewed, and what failed is tried again."""
        self._chores.later(_LOOK_SECONDS, self._look_at_all)
        with self._lock:
            machine_ids = list(self._homes)
        for machine_id in machine_ids:
            self.look_soon(machine_id)

    def _look(self, machine_id: str) -> None:
        """Check a guest that is due."""
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
        """Make a guest's QEMU match the desired homes."""
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
        """Remove nodes of ours that no disk uses or may use; return the homes that the guest uses by proxies."""
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
                continue  # it is being detached
            if disk.is_direct and disk.node != direct_nodes.node_name(volume_id, home.generation):
                # Its home serves another attachment now, so the guest's pending requests could never be answered.
                _yank(domain, disk.node)
                self._ask_homes(machine_id, seen, but=volume_id)
                _end_job(domain, disk.node)
                _move(domain, disk, disk.proxy_node)
                _remove(domain, seen, disk.node)
            elif disk.is_direct and not self._is_lasting(seen, disk.node):
                self.fall_back(domain, [volume_id])
            elif disk.is_direct:
                continue
            elif disk.node != disk.proxy_node:  # libvirt has inserted a backup's filter
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

    def _is_lasting(self, seen: Seen, node: str) -> bool:
        """Tell whether the credentials of a node last for long, and are of the authorities that hosts have now."""
        with self._lock:
            authorities = self._authorities
        is_known = not authorities or seen.are_of(node, authorities)
        return is_known and seen.credentials_end(node) >= time.time() + _RENEWAL_SECONDS

    def _put_off(self, key: tuple[str, str, int], error: Exception) -> None:
        """Record why a guest stays with a proxy, log it once, and retry: temporary failures soon, others rarely."""
        passes = not isinstance(error, NoCredentialsError | secured.NotAdmittedError | MonitorError)
        seconds = _SOON_SECONDS if passes else _RARELY_SECONDS
        reason = type(error).__name__
        with self._lock:
            before = self._failures.get(key)
            self._failures[key] = _Failure(reason, time.monotonic() + seconds)
        if before is None or before.reason != reason:
            _log.info("volume_stays_with_proxy", machine=key[0], volume=key[1], reason=str(error))
        self._look_later(key[0], seconds)

    def _look_later(self, machine_id: str, seconds: float) -> None:
        """Check a guest again in so many seconds, unless a check is due sooner."""
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
        """Move a guest from the proxy to the home, which has just admitted us with the credentials for its QEMU."""
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
        """Add credentials and a node to QEMU, and move the disk's device to it; cleans up if it fails halfway."""
        name = direct_nodes.node_name(home.volume_id, home.generation)
        end = int(tls.lifetime(identity.certificate_pem)[1].timestamp())
        object_id = direct_nodes.credentials_id(name, end, identity.authorities)
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
        """Return libvirt's folder of a running guest."""
        return self._state / f"domain-{domain.ID()}-{domain.name()}"


def look(domain: Any) -> Seen:
    """Query a QEMU about its volumes of other hosts."""
    nodes = execute(domain, "query-named-block-nodes", {"flat": True})
    objects = direct_nodes.credential_objects(execute(domain, "qom-list", {"path": "/objects"}))
    sizes = direct_nodes.sizes(nodes)
    disks = {}
    for volume_id, (device, number) in direct_nodes.devices(domain.XMLDesc(0)).items():
        with contextlib.suppress(MonitorError):  # it was detached at this moment
            node = str(execute(domain, "qom-get", {"path": device, "property": "drive"}))
            proxy = direct_nodes.proxy_node(number, sizes)
            is_shareable = bool(execute(domain, "qom-get", {"path": device, "property": "share-rw"}))
            disks[volume_id] = PluggedDisk(device, node, proxy, sizes.get(proxy, 0), is_shareable)
    return Seen(disks, direct_nodes.direct_nodes(nodes), objects, direct_nodes.job_sources(sizes))


def _move(domain: Any, disk: PluggedDisk, node: str) -> None:
    """Move a disk's device to another node, once its requests in flight have ended."""
    execute(domain, "qom-set", {"path": disk.device, "property": "drive", "value": node})


def _yank(domain: Any, node: str) -> None:
    """Break a node's connection, if it has one, permanently: requests that wait for answers fail."""
    execute(domain, "yank", {"instances": [{"type": "block-node", "node-name": node}]})


def _end_job(domain: Any, node: str) -> None:
    """Cancel the job of a node, if it has one: requests that wait for a connection fail. Also removes its source."""
    deadline = time.monotonic() + _JOB_SECONDS
    is_cancelled = False
    while any(each["id"] == node for each in execute(domain, "query-jobs")):
        if not is_cancelled:
            execute(domain, "block-job-cancel", {"device": node, "force": True})
            is_cancelled = True
        elif time.monotonic() > deadline:
            raise MonitorError(f"{node}: its job does not end")
        else:
            time.sleep(_POLL_SECONDS)
    _delete(domain, direct_nodes.source_of(node))


def _delete(domain: Any, node: str) -> None:
    """Remove an unused node, if it exists."""
    if any(each.get("node-name") == node for each in execute(domain, "query-named-block-nodes", {"flat": True})):
        execute(domain, "blockdev-del", {"node-name": node})


def _remove(domain: Any, seen: Seen, node: str) -> None:
    """Remove a node that no disk uses, as far as it exists, with its job and its credentials.

    QEMU flushes a node that it removes, and would block on a home that has ended since: so the connection is broken
    first. The guest's own flushes are done; the home writes the rest to disk by itself.
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
    """Let a guest's QEMU read a key and certificates under QEMU's names for them, only within this `with`.

    The folder belongs to that QEMU's user, who may put links there: they are not followed, so no other file is exposed.
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
    """Remove credentials that an interrupted agent left for a guest's QEMU."""
    flags = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    above = os.open(folder, flags)
    try:
        _sweep(above, flags)
    finally:
        os.close(above)


def _sweep(above: int, flags: int) -> None:
    """Remove our folder with its files, if it exists."""
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
