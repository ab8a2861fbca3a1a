"""Renders and parses libvirt's backup and checkpoint XML. Pure.

A checkpoint is named like the backup. Its description lists `volume=snapshot` pairs, by which it is found again: a
snapshot's instant may cover several disks (https://libvirt.org/formatcheckpoint.html, formatbackup.html).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from stead_agent.disks.disk_backups import Backup, DiskExport
from stead_agent.machines.domain_xml import serial_of

_BITMAP = "changed"


@dataclass(frozen=True, slots=True)
class LiveDisk:
    """A volume that is attached to a running guest."""

    volume_id: str
    target: str
    format: str
    secret: str  # UUID of the secret with its key; empty: not encrypted


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An instant of a guest's disks since which changes are tracked."""

    name: str
    snapshots: Mapping[str, str]  # volume id -> snapshot id


def plugged(domain_xml: str, volume_ids: Iterable[str]) -> dict[str, LiveDisk]:
    """Find volumes among the disks of a running domain; volumes not attached are left out."""
    by_serial = {serial_of(volume_id): volume_id for volume_id in volume_ids}
    found = {}
    for disk in ET.fromstring(domain_xml).iterfind("devices/disk"):  # noqa: S314 (from libvirt)
        volume_id = by_serial.get(disk.findtext("serial", ""))
        if volume_id is not None:
            secret = disk.find("source/encryption/secret")
            found[volume_id] = LiveDisk(
                volume_id,
                _attribute(disk, "target", "dev"),
                _attribute(disk, "driver", "type"),
                "" if secret is None else secret.get("uuid", ""),
            )
    return found


def targets(domain_xml: str) -> list[str]:
    """List the targets of all disks of a domain."""
    disks = ET.fromstring(domain_xml).iterfind("devices/disk/target")  # noqa: S314 (from libvirt)
    return [target.get("dev", "") for target in disks]


def render_backup(
    disks: Iterable[LiveDisk],
    since: Mapping[str, str],
    every_target: Iterable[str],
    socket: Path,
    secrets: Mapping[str, str],
) -> str:
    """Render a pull mode backup; `since` has, by volume, the checkpoint since which changes are requested.

    `secrets` has the UUIDs of the secrets of encrypted scratch files, by volume.
    """
    root = ET.Element("domainbackup", mode="pull")
    ET.SubElement(root, "server", transport="unix", socket=str(socket))
    part = ET.SubElement(root, "disks")
    wanted = {disk.target: disk for disk in disks}
    for target in every_target:
        if target not in wanted:
            ET.SubElement(part, "disk", name=target, backup="no")
            continue
        disk = wanted[target]
        element = ET.SubElement(part, "disk", name=target, backup="yes", type="file", exportname=disk.volume_id)
        if disk.volume_id in since:
            element.set("backupmode", "incremental")
            element.set("incremental", since[disk.volume_id])
            element.set("exportbitmap", _BITMAP)
        else:
            element.set("backupmode", "full")
        ET.SubElement(element, "driver", type="qcow2")
        scratch = ET.SubElement(element, "scratch", file=str(scratch_of(socket, disk.volume_id)))
        if disk.volume_id in secrets:
            encryption = ET.SubElement(scratch, "encryption", format="luks")
            ET.SubElement(encryption, "secret", type="passphrase", uuid=secrets[disk.volume_id])
    return ET.tostring(root, encoding="unicode")


def scratch_of(socket: Path, volume_id: str) -> Path:
    """Return the path of the scratch file for what a guest overwrites during a backup."""
    return socket.parent / f"{volume_id}.scratch"


def parse_backup(name: str, backup_xml: str, socket: Path) -> Backup:
    """Read a running backup's XML."""
    exports = {}
    for disk in ET.fromstring(backup_xml).iterfind("disks/disk"):  # noqa: S314 (from libvirt)
        if disk.get("backup") == "yes":
            export = disk.get("exportname", disk.get("name", ""))
            bitmap = disk.get("exportbitmap", "") if disk.get("incremental") else ""
            exports[export] = DiskExport(export, f"qemu:dirty-bitmap:{bitmap}" if bitmap else "")
    return Backup(name, socket, exports)


def socket_of(backup_xml: str) -> Path | None:
    """Return the socket on which a running backup is read; None when the backup is not ours."""
    server = ET.fromstring(backup_xml).find("server")  # noqa: S314 (from libvirt)
    return Path(server.get("socket", "")) if server is not None and server.get("transport") == "unix" else None


def render_checkpoint(
    name: str, disks: Iterable[LiveDisk], snapshots: Mapping[str, str], every_target: Iterable[str]
) -> str:
    """Render the checkpoint of a new instant: a bitmap for each of the disks that can have one."""
    root = ET.Element("domaincheckpoint")
    ET.SubElement(root, "name").text = name
    counted = {disk.target: disk for disk in disks if disk.format == "qcow2"}
    pairs = (f"{disk.volume_id}={snapshots[disk.volume_id]}" for disk in counted.values())
    ET.SubElement(root, "description").text = " ".join(sorted(pairs))
    part = ET.SubElement(root, "disks")
    for target in every_target:
        ET.SubElement(part, "disk", name=target, checkpoint="bitmap" if target in counted else "no")
    return ET.tostring(root, encoding="unicode")


def parse_checkpoint(checkpoint_xml: str) -> Checkpoint:
    """Read a checkpoint."""
    root = ET.fromstring(checkpoint_xml)  # noqa: S314 (from libvirt)
    pairs = (word.partition("=") for word in root.findtext("description", "").split())
    return Checkpoint(root.findtext("name", ""), {volume_id: snapshot_id for volume_id, _, snapshot_id in pairs})


def _attribute(disk: ET.Element, tag: str, name: str) -> str:
    found = disk.find(tag)
    return "" if found is None else found.get(name, "")
