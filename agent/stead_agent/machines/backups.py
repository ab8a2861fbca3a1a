"""Does with libvirt what `disk_backups.py` promises: pull mode backups, and checkpoints to know what changed since.

A guest's QEMU exports its frozen disks on a unix socket in a folder that is its user's alone; scratch files beside it
keep what the guest overwrites meanwhile. All of it goes when the backup ends, also when the guest's end ended it.
"""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import libvirt

from stead_agent.disk_backups import Backup, BackupBusyError, BackupError, NotPluggedError
from stead_agent.disk_users import uid_of
from stead_agent.machines import backup_xml
from stead_agent.machines.host_access import make_private, remove_private
from stead_agent.machines.interface import MachineError
from stead_agent.machines.libvirt_machines import LibvirtMachines

_log = logging.getLogger(__name__)

# A socket's path has at most 107 bytes (unix(7)); the rest is `/i-0123456789abcdef0/nbd`.
_MOST_PATH: Final = 107 - 24


class LibvirtBackups:
    """The backups of one agent's guests."""

    def __init__(self, machines: LibvirtMachines, folder: Path) -> None:
        """Keep sockets and scratch files below `folder`."""
        self._machines = machines
        self._folder = folder
        if len(str(folder)) > _MOST_PATH:
            raise MachineError(f"the path of {folder} is too long for the sockets below it")

    def begin(self, machine_id: str, name: str, disks: Mapping[str, tuple[str, str]]) -> Backup:
        """Freeze disks at one instant."""
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
            self._drop_checkpoints(domain, lambda checkpoint: checkpoint.name == name)
            place = self._folder / machine_id
            make_private(place, uid_of(machine_id))
            (place / "name").write_text(name)
            since = self._since(domain, disks)
            every = backup_xml.targets(live_xml)
            snapshots = {volume_id: pair[0] for volume_id, pair in disks.items()}
            socket = place / "nbd"
            checkpoint = None
            if any(disk.format == "qcow2" for disk in found.values()):
                checkpoint = backup_xml.render_checkpoint(name, found.values(), snapshots, every)
            try:
                domain.backupBegin(backup_xml.render_backup(found.values(), since, every, socket), checkpoint)
            except libvirt.libvirtError as error:
                if not since:
                    raise
                # A bitmap that a killed QEMU left is unusable: libvirt calls its checkpoint inconsistent.
                _log.warning("changes_unknown", extra={"machine": machine_id, "error": str(error)})
                domain.backupBegin(backup_xml.render_backup(found.values(), {}, every, socket), checkpoint)
            begun = self._current(machine_id, domain)
        if begun is None:
            raise BackupError(f"{machine_id}: the backup ended at once")
        return begun

    def current(self, machine_id: str) -> Backup | None:
        """Tell which backup of a guest goes on."""
        try:
            with self._running(machine_id) as domain:
                return self._current(machine_id, domain)
        except NotPluggedError:
            return None

    def end(self, machine_id: str, name: str) -> None:
        """End a backup and remove what it needed."""
        try:
            with self._running(machine_id) as domain:
                going_on = self._current(machine_id, domain)
                if going_on is not None and going_on.name != name:
                    return
                if going_on is not None:
                    domain.abortJob()
        except NotPluggedError:
            pass  # its guest's end has ended it
        if self._name(machine_id) == name:
            remove_private(self._folder / machine_id)

    def forget(self, machine_id: str, volume_id: str, *, keep: str) -> None:
        """Forget what changed of a disk since any snapshot but `keep`."""
        with contextlib.suppress(NotPluggedError), self._running(machine_id) as domain:  # they go with the next start
            self._drop_checkpoints(
                domain,
                lambda found: volume_id in found.snapshots and keep not in found.snapshots.values(),
            )

    def _since(self, domain: Any, disks: Mapping[str, tuple[str, str]]) -> dict[str, str]:
        """Find the checkpoints of the earlier snapshots that disks are to be compared with."""
        since = {}
        for _handle, checkpoint in self._checkpoints(domain):
            for volume_id, (_snapshot_id, parent_id) in disks.items():
                if parent_id and checkpoint.snapshots.get(volume_id) == parent_id:
                    since[volume_id] = checkpoint.name
        return since

    def _drop_checkpoints(self, domain: Any, is_needless: Any) -> None:
        for handle, checkpoint in self._checkpoints(domain):
            if is_needless(checkpoint):
                try:
                    handle.delete(0)
                except libvirt.libvirtError as error:
                    # The bitmap is gone or broken: then only libvirt's record of it is left to go.
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
        socket = self._folder / machine_id / "nbd"
        if backup_xml.socket_of(text) != socket:
            raise BackupBusyError(f"{machine_id}: a backup goes on that is not ours")
        return backup_xml.parse_backup(self._name(machine_id), text, socket)

    def _name(self, machine_id: str) -> str:
        try:
            return (self._folder / machine_id / "name").read_text()
        except FileNotFoundError:
            return ""

    @contextlib.contextmanager
    def _running(self, machine_id: str) -> Iterator[Any]:
        """Give the domain of a guest that runs, and translate errors."""
        try:
            with self._machines.domain(machine_id) as domain:
                if domain is None:
                    raise NotPluggedError(f"{machine_id} does not run")
                yield domain
        except MachineError as error:
            raise BackupError(str(error)) from error
