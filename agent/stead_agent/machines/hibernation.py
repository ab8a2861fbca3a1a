"""Saves the memory of a guest to an encrypted file and loads it again, by jobs of the guest's own QEMU.

The file is LUKS with the passphrase of the guest's root disk. In it is a small qcow2 disk, and the memory is a snapshot
in that: QEMU encrypts all that it writes, so no memory is on the host's disk in plain. The key is the one that QEMU has
for the root disk; no command has it as an argument. The guest's own disks take no part in the snapshot: they have what
was written before the guest was paused, and stay as they are until it goes on. (LUKS inside of qcow2, as disks have it,
cannot be used: QEMU 10.0 aborts when it saves memory to such a disk.)

See https://www.qemu.org/docs/master/interop/qemu-qmp-ref.html#qapidoc-snapshot-save.
"""

import contextlib
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import libvirt

from stead_agent.disks.disk_files import write_disk
from stead_agent.disks.disk_sources import FileSource
from stead_agent.disks.disk_users import uid_of
from stead_agent.disks.luks_header import LUKS_BYTES, render_luks
from stead_agent.disks.qcow2 import EmptyDisk
from stead_agent.machines import devices, life
from stead_agent.machines.guest_agent import set_clock
from stead_agent.machines.host_access import give_disk
from stead_agent.machines.interface import MachineError
from stead_agent.machines.monitor import MonitorError, execute

_FILE: Final = "hibernation-file"
_PLAIN: Final = "hibernation-plain"
_FORMAT: Final = "hibernation-format"
_JOB: Final = "hibernation"
_TAG: Final = "memory"
_DISK_BYTES: Final = 1 << 16
# Of the file, which is sparse: what QEMU saves besides a guest's memory, and qcow2's tables.
_MORE: Final = 256 << 20
_TABLES: Final = 64
_SNAPSHOT: Final = {"tag": _TAG, "vmstate": _FORMAT, "devices": [_FORMAT]}
_LOOK_SECONDS: Final = 0.05
_WHOLE: Final = libvirt.VIR_DOMAIN_XML_MIGRATABLE | libvirt.VIR_DOMAIN_XML_SECURE


class Hibernation:
    """Saves and loads the memories of this host's guests: a file for each, by its id."""

    def __init__(self, folder: Path) -> None:
        """Use `folder`, made when it is needed."""
        self._folder = folder

    def has(self, machine_id: str) -> bool:
        """Tell whether there is a file of a guest's memory, maybe an incomplete one."""
        return self._path(machine_id).exists()

    def save(self, live: Any, domain: Any, encryption_key: bytes) -> None:
        """Pause a guest and write its memory to a new file, synced, and its definition for the time when it is resumed.

        A guest that cannot be saved is resumed. Raises MachineError, libvirtError.
        """
        machine_id = domain.name()
        domain.suspend()
        try:
            path = self._make(machine_id, encryption_key, domain.maxMemory() << 10)
            with _opened(domain, path, fresh=True):
                _do(domain, "snapshot-save", _SNAPSHOT)
            live.defineXML(domain.XMLDesc(_WHOLE))
        except (MachineError, libvirt.libvirtError):
            domain.resume()
            self.forget(machine_id)
            raise

    def load(self, domain: Any) -> None:
        """Give a guest that was started paused its memory; raises MachineError, libvirtError."""
        path = self._path(domain.name())
        give_disk(FileSource(path), None, uid_of(domain.name()))
        with _opened(domain, path):
            _do(domain, "snapshot-load", _SNAPSHOT)

    def resume(self, domain: Any) -> None:
        """Let a guest that has its memory go on, and forget that; its clock is set by its agent, if there is one."""
        devices.show_sizes(domain)
        domain.resume()
        self.forget(domain.name())
        threading.Thread(target=set_clock, args=(domain,), name="guest-clock", daemon=True).start()

    def forget(self, machine_id: str) -> None:
        """Remove the file of a guest's memory, if there is one."""
        self._path(machine_id).unlink(missing_ok=True)

    def _path(self, machine_id: str) -> Path:
        return self._folder / f"{machine_id}.qcow2"

    def _make(self, machine_id: str, encryption_key: bytes, memory: int) -> Path:
        """Make an empty file, owned by the guest's user, in the place of an earlier one."""
        if not encryption_key:
            raise MachineError(f"{machine_id}: its root disk has no key on this host, so its memory cannot be saved")
        path = self._path(machine_id)
        try:
            self._folder.mkdir(mode=0o711, exist_ok=True)
            path.unlink(missing_ok=True)
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
            length = LUKS_BYTES + memory + memory // _TABLES + _MORE
            write_disk(path, EmptyDisk(((0, render_luks(encryption_key)),), length))
        except OSError as error:
            raise MachineError(f"{machine_id}: no file for its memory can be made: {error}") from error
        give_disk(FileSource(path), None, uid_of(machine_id))
        return path


def root_secret(domain_xml: str, objects: Iterable[str]) -> str:
    """Return the id of the object in QEMU that has the passphrase of a running domain's root disk.

    `objects` are the ids of all. Raises MachineError when the disk is not one that this QEMU decrypts.
    """
    root = ET.fromstring(domain_xml).find("devices/disk[boot]/source")  # noqa: S314 (libvirt's own)
    number = root.get("index", "") if root is not None and root.find("encryption") is not None else ""
    prefix = f"libvirt-{number}-format-"
    found = next((each for each in objects if number and each.startswith(prefix)), None)
    if found is None:
        raise MachineError("the root disk is not encrypted on this host, so its memory cannot be saved")
    return found


def woken_xml(domain_xml: str, record: life.Record, console_log: Path) -> str:
    """Return the definition of a hibernated guest for its next start: with another record and console log.

    All else stays, such as the addresses of its devices: what was saved of them fits no others.
    """
    domain = ET.fromstring(domain_xml)  # noqa: S314 (libvirt's own)
    metadata = domain.find("metadata")
    if metadata is None:
        raise MachineError("the definition of a hibernated guest has no record")
    for old in metadata.findall(f"{{{life.NAMESPACE}}}*"):
        metadata.remove(old)
    metadata.append(record.to_element())
    for log in domain.iterfind("devices/*/log"):
        log.set("file", str(console_log))
    return ET.tostring(domain, encoding="unicode")


@contextlib.contextmanager
def _opened(domain: Any, path: Path, *, fresh: bool = False) -> Iterator[None]:
    """Open a file in the guest's QEMU within this `with`; a fresh one has no disk in it yet."""
    _close(domain)  # an earlier agent may have ended too early
    objects = (str(each.get("name", "")) for each in execute(domain, "qom-list", {"path": "/objects"}))
    secret = root_secret(domain.XMLDesc(0), objects)
    execute(domain, "blockdev-add", {"node-name": _FILE, "driver": "file", "filename": str(path)})
    try:
        plain = {"node-name": _PLAIN, "driver": "luks", "file": _FILE, "key-secret": secret}
        execute(domain, "blockdev-add", plain)
        if fresh:
            _do(domain, "blockdev-create", {"options": {"driver": "qcow2", "file": _PLAIN, "size": _DISK_BYTES}})
        execute(domain, "blockdev-add", {"node-name": _FORMAT, "driver": "qcow2", "file": _PLAIN})
        yield
    finally:
        _close(domain)


def _close(domain: Any) -> None:
    """Close the file, if it is open, after the job that uses it."""
    if any(each["id"] == _JOB for each in execute(domain, "query-jobs")):
        _finish(domain)
    nodes = {str(each.get("node-name", "")) for each in execute(domain, "query-named-block-nodes", {"flat": True})}
    for node in (_FORMAT, _PLAIN, _FILE):
        if node in nodes:
            execute(domain, "blockdev-del", {"node-name": node})


def _do(domain: Any, command: str, arguments: Mapping[str, Any]) -> None:
    """Carry out a job; raises MonitorError with QEMU's reason when it fails."""
    execute(domain, command, {"job-id": _JOB, **arguments})
    if error := _finish(domain):
        raise MonitorError(f"{command}: {error}")


def _finish(domain: Any) -> str:
    """Wait for the end of the job and return its error, empty if it has none. QEMU answers nothing while it works."""
    while True:
        job = next(each for each in execute(domain, "query-jobs") if each["id"] == _JOB)
        if job["status"] == "concluded":
            execute(domain, "job-dismiss", {"id": _JOB})
            return str(job.get("error", ""))
        time.sleep(_LOOK_SECONDS)
