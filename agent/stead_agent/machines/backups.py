"""Implements `disk_backups.py` with libvirt: pull mode backups, and checkpoints to track changes since.

A guest's QEMU exports its frozen disks on a unix socket in a folder owned by its user; scratch files beside it store
what the guest overwrites meanwhile. All of it is removed when the backup ends, also if it ended with the guest. What is
overwritten on an encrypted disk is stored encrypted, with a key that only that guest's QEMU has from then on.
"""

import contextlib
import logging
import os
import secrets
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import libvirt

from stead_agent.disks.disk_backups import Backup, BackupBusyError, BackupError, DiskToFreeze, NotPluggedError
from stead_agent.disks.disk_files import write_disk
from stead_agent.disks.disk_users import uid_of
from stead_agent.disks.qcow2 import Qcow2Error, render_empty
from stead_agent.machines import backup_xml
from stead_agent.machines.backup_xml import LiveDisk
from stead_agent.machines.host_access import remove_private
from stead_agent.machines.interface import MachineError
from stead_agent.machines.libvirt_machines import LibvirtMachines
from stead_agent.machines.lost_backups import end_lost
from stead_agent.machines.secrets import Secret, lent

_log = logging.getLogger(__name__)

# A socket's path has at most 107 bytes (unix(7)); the rest is `/i-0123456789abcdef0/nbd`.
_MOST_PATH: Final = 107 - 24
_SOCKET: Final = "nbd"
_NAME: Final = "name"
_KEY_BYTES: Final = 32
_END_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.01


@dataclass(frozen=True, slots=True)
class _Freezing:
    """What is to be frozen."""

    name: str
    disks: Mapping[str, DiskToFreeze]  # by volume id
    found: Mapping[str, LiveDisk]
    targets: Sequence[str]  # of all disks of the domain
    socket: Path
    keys: Mapping[str, Secret]  # of encrypted scratch files, by volume id


class LibvirtBackups:
    """The backups of one agent's guests."""

    def __init__(self, machines: LibvirtMachines, folder: Path) -> None:
        """Create sockets and scratch files below `folder`."""
        self._machines = machines
        self._folder = folder
        if len(str(folder)) > _MOST_PATH:
            raise MachineError(f"the path of {folder} is too long for the sockets below it")

    def begin(self, machine_id: str, name: str, disks: Mapping[str, DiskToFreeze]) -> Backup:
        """Freeze disks at one instant."""
        self._machines.direct.look_soon(machine_id)  # in any case, its disks are to be direct again afterwards
        with self._running(machine_id) as domain:
            going_on = self._current(machine_id, domain)
            if going_on is not None:
                if going_on.name == name:
                    return going_on
                raise BackupBusyError(f"{machine_id}: {going_on.name} is being taken")
            live_xml = domain.XMLDesc(0)
            found = backup_xml.plugged(live_xml, disks)
            if len(found) != len(disks):
                raise NotPluggedError(f"{machine_id} has not all of {', '.join(disks)} plugged in")
            self._machines.direct.fall_back(domain, disks)  # else the guest's writes would bypass libvirt's filter
            self._drop_checkpoints(domain, lambda checkpoint: checkpoint.name == name)
            keys = {
                each: Secret(str(uuid.uuid4()), f"scratch {each}", secrets.token_bytes(_KEY_BYTES))
                for each, disk in disks.items()
                if disk.hidden or found[each].secret
            }
            place = self._prepare(machine_id, name, domain, found, keys)
            what = _Freezing(name, disks, found, backup_xml.targets(live_xml), place / _SOCKET, keys)
            with lent(domain.connect(), keys.values()):
                self._freeze(domain, what)
            begun = self._current(machine_id, domain)
        if begun is None:
            raise BackupError(f"{machine_id}: the backup ended at once")
        return begun

    def current(self, machine_id: str) -> Backup | None:
        """Return the active backup of a guest."""
        try:
            with self._running(machine_id) as domain:
                return self._current(machine_id, domain)
        except NotPluggedError:
            return None

    def end(self, machine_id: str, name: str) -> None:
        """End a backup and remove what it needed.

        libvirt still shows an ended backup until QEMU has released it; its name is "" then.
        """
        try:
            with self._running(machine_id) as domain:
                going_on = self._current(machine_id, domain)
                if going_on is not None and going_on.name != name:
                    return
                if going_on is not None:
                    _abort(domain)
                    self._wait_for_end(machine_id, domain)
                if self._current(machine_id, domain) is None:
                    end_lost(domain)
                self._remove_files(machine_id, name)
        except NotPluggedError:  # it ended with its guest
            self._remove_files(machine_id, name)
        self._machines.direct.look_soon(machine_id)

    def _wait_for_end(self, machine_id: str, domain: Any) -> None:
        """Wait until libvirt has ended an aborted backup, or for some seconds."""
        deadline = time.monotonic() + _END_SECONDS
        while self._current(machine_id, domain) is not None and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)

    def _remove_files(self, machine_id: str, name: str) -> None:
        if self._name(machine_id) == name:
            remove_private(self._folder / machine_id)

    def forget(self, machine_id: str, volume_id: str, *, keep: str) -> None:
        """Stop tracking the changes of a disk since any snapshot except `keep`."""
        with contextlib.suppress(NotPluggedError), self._running(machine_id) as domain:  # they go with the next start
            self._drop_checkpoints(
                domain,
                lambda found: volume_id in found.snapshots and keep not in found.snapshots.values(),
            )

    def _prepare(
        self, machine_id: str, name: str, domain: Any, disks: Mapping[str, LiveDisk], keys: Mapping[str, Secret]
    ) -> Path:
        """Create the guest's folder with scratch files, which libvirt would create as files of root.

        The folder is given to the guest's user only when complete, so that the guest cannot put links there before.
        """
        place, uid = self._folder / machine_id, uid_of(machine_id)
        remove_private(place)
        self._folder.mkdir(mode=0o711, exist_ok=True)
        place.mkdir(mode=0o700)
        (place / _NAME).write_text(name)
        for disk in disks.values():
            scratch = backup_xml.scratch_of(place / _SOCKET, disk.volume_id)
            key = keys[disk.volume_id].key if disk.volume_id in keys else b""
            try:
                scratch.touch(mode=0o600)
                write_disk(scratch, render_empty(domain.blockInfo(disk.target)[0], encryption_key=key))
            except (Qcow2Error, OSError) as error:
                raise BackupError(f"{scratch}: {error}") from error
            os.chown(scratch, uid, 0)
            scratch.chmod(0o600)
        os.chown(place, uid, 0)
        return place

    def _freeze(self, domain: Any, what: "_Freezing") -> None:
        """Begin the backup, without any bitmap that a killed QEMU left broken: libvirt refuses to use it."""
        since = self._since(domain, what.disks)
        snapshots = {volume_id: disk.snapshot_id for volume_id, disk in what.disks.items()}
        uuids = {volume_id: key.uuid for volume_id, key in what.keys.items()}
        checkpoint = None
        if any(disk.format == "qcow2" for disk in what.found.values()):
            checkpoint = backup_xml.render_checkpoint(what.name, what.found.values(), snapshots, what.targets)
        for earlier in [since, {}] if since else [{}]:
            backup = backup_xml.render_backup(what.found.values(), earlier, what.targets, what.socket, uuids)
            try:
                domain.backupBegin(backup, checkpoint, libvirt.VIR_DOMAIN_BACKUP_BEGIN_REUSE_EXTERNAL)
                return
            except libvirt.libvirtError as error:
                if not earlier:
                    raise
                _log.warning("changes_unknown", extra={"snapshot": what.name, "error": str(error)})

    def _since(self, domain: Any, disks: Mapping[str, DiskToFreeze]) -> dict[str, str]:
        """Find the checkpoints of the earlier snapshots that disks are to be compared with."""
        since = {}
        for _handle, checkpoint in self._checkpoints(domain):
            for volume_id, disk in disks.items():
                if disk.parent_id and checkpoint.snapshots.get(volume_id) == disk.parent_id:
                    since[volume_id] = checkpoint.name
        return since

    def _drop_checkpoints(self, domain: Any, is_needless: Callable[[backup_xml.Checkpoint], bool]) -> None:
        for handle, checkpoint in self._checkpoints(domain):
            if is_needless(checkpoint):
                try:
                    handle.delete(0)
                except libvirt.libvirtError as error:
                    # The bitmap is gone or broken: only libvirt's metadata of it is left to delete.
                    _log.warning("bitmap_lost", extra={"checkpoint": checkpoint.name, "error": str(error)})
                    handle.delete(libvirt.VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY)

    def _checkpoints(self, domain: Any) -> Iterator[tuple[Any, backup_xml.Checkpoint]]:
        for handle in domain.listAllCheckpoints(0):
            yield handle, backup_xml.parse_checkpoint(handle.getXMLDesc(libvirt.VIR_DOMAIN_CHECKPOINT_XML_NO_DOMAIN))

    def _current(self, machine_id: str, domain: Any) -> Backup | None:
        try:
            text = domain.backupGetXMLDesc(0)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN_BACKUP:
                return None
            raise
        socket = self._folder / machine_id / _SOCKET
        if backup_xml.socket_of(text) != socket:
            raise BackupBusyError(f"{machine_id}: a backup is running that is not ours")
        return backup_xml.parse_backup(self._name(machine_id), text, socket)

    def _name(self, machine_id: str) -> str:
        try:
            return (self._folder / machine_id / _NAME).read_text()
        except FileNotFoundError:
            return ""

    @contextlib.contextmanager
    def _running(self, machine_id: str) -> Iterator[Any]:
        """Yield the domain of a running guest, and translate errors."""
        try:
            with self._machines.domain(machine_id) as domain:
                if domain is None:
                    raise NotPluggedError(f"{machine_id} does not run")
                yield domain
        except MachineError as error:
            raise BackupError(str(error)) from error


def _abort(domain: Any) -> None:
    """Abort a domain's backup; it may have ended meanwhile."""
    try:
        domain.abortJob()
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:
            raise
