"""What a hibernated guest's definition becomes, which key its memory gets, and what an interrupted load leaves."""

import threading
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import libvirt
import pytest

from stead_agent.machines import hibernation, life
from stead_agent.machines.hibernation import root_secret, woken_xml
from stead_agent.machines.interface import MachineError, OffReason
from stead_agent.machines.life import Record, State, View, is_half_loaded, status_of

DOMAIN = """<domain><metadata><s:machine xmlns:s="urn:stead:machine:1" owner="a" start_count="1"/><x>theirs</x></metadata>
<devices><disk><source index="3"/></disk>
<disk><boot order="1"/><source index="12"><encryption format="luks"/></source><address slot="0x07"/></disk>
<serial><log file="/old/1.log"/></serial><console><log file="/old/1.log"/></console></devices></domain>"""


def test_only_record_and_console_of_a_definition_change() -> None:
    record = Record("a", start_count=2, saved_of=1)
    woken = ET.fromstring(woken_xml(DOMAIN, record, Path("/new/2.log")))
    [own] = woken.findall(f"metadata/{{{life.NAMESPACE}}}machine")
    assert life.parse_record(ET.tostring(own, encoding="unicode")) == record
    assert woken.findtext("metadata/x") == "theirs"
    assert [log.get("file") for log in woken.iterfind("devices/*/log")] == ["/new/2.log"] * 2
    assert [one.get("slot") for one in woken.iterfind("devices/disk/address")] == ["0x07"]
    with pytest.raises(MachineError):
        woken_xml("<domain/>", record, Path("/new/2.log"))


def test_the_key_is_that_of_the_root_disk() -> None:
    objects = ["libvirt-1-format-encryption-secret0", "libvirt-3-format-x", "libvirt-12-format-encryption-secret0"]
    assert root_secret(DOMAIN, objects) == "libvirt-12-format-encryption-secret0"
    plain = DOMAIN.replace('<encryption format="luks"/>', "")
    for domain, known in ((DOMAIN, objects[:2]), (plain, objects), ("<domain/>", objects)):
        with pytest.raises(MachineError, match="not encrypted"):
            root_secret(domain, known)


def test_when_a_guest_is_hibernated_and_when_half_loaded() -> None:
    off = View(active=False, state=State.SHUTOFF, reason=0, boot_id="b", log_exists=True)
    paused = replace(off, active=True, state=State.PAUSED)
    saved = Record("a", boot_id="b", start_count=4, started_before=3, saved_of=4, stop_asked_of=4)
    assert status_of("i-1", saved, off).hibernated
    assert not status_of("i-1", replace(saved, saved_of=0), off).hibernated
    assert not status_of("i-1", replace(saved, start_count=5, stop_asked_of=5, started_before=4), off).hibernated
    failed = status_of("i-1", replace(saved, start_count=5, started_before=4), replace(off, log_exists=False))
    assert (failed.start_count, failed.hibernated, failed.off_reason) == (4, True, OffReason.ASKED)
    loading = replace(saved, start_count=5)
    assert [is_half_loaded(record, paused) for record in (loading, saved, replace(loading, saved_of=0))] == [
        True,
        False,
        False,
    ]
    assert not is_half_loaded(loading, off)


class Resumed:
    """A guest that was loaded and has two disks; libvirt cannot tell of the second one."""

    def __init__(self) -> None:
        self.done: list[object] = []

    def name(self) -> str:
        return "i-0123456789abcdef0"

    def XMLDesc(self, _flags: int) -> str:  # noqa: N802 - libvirt's
        disk = "<disk><serial>vol0123456789abcdef{0}</serial><target dev='vd{0}'/></disk>"
        return f"<domain><devices>{disk.format('a')}{disk.format('b')}</devices></domain>"

    def blockInfo(self, target: str) -> tuple[int, int, int]:  # noqa: N802 - libvirt's
        if target == "vda":
            raise libvirt.libvirtError("of another host")
        return 3 << 30, 1, 1

    def blockResize(self, *how: object) -> None:  # noqa: N802 - libvirt's
        self.done.append(how)

    def resume(self) -> None:
        self.done.append("resumed")


def test_a_resumed_guest_sees_how_its_disks_have_grown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Before it runs: the capacity is among what was saved of it."""
    domain, told = Resumed(), threading.Event()
    monkeypatch.setattr(hibernation, "set_clock", lambda _: told.set())
    memory = tmp_path / f"{domain.name()}.qcow2"
    memory.touch()
    hibernation.Hibernation(tmp_path).resume(domain)
    assert domain.done == [("vdb", 3 << 30, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES), "resumed"]
    assert not memory.exists()
    assert told.wait(10)
