"""`stead net` on a real guest: its packets, and what its host has in force for it."""

import json
import subprocess
import threading
from pathlib import Path

from stead_cli import packets
from tests.support.real_cloud import RealCloud, User


def test_the_packets_of_a_guest(real_cloud: RealCloud, guest_owner: User, guest: str, tmp_path: Path) -> None:
    machine, file = guest_owner.login(guest), tmp_path / "it.pcap"
    done: list[subprocess.CompletedProcess[str]] = []
    thread = threading.Thread(
        target=lambda: done.append(real_cloud.stead("net", "capture", guest, "--seconds", "8", "-w", str(file)))
    )
    thread.start()
    while thread.is_alive():
        machine.run("true")
    assert done[0].returncode == 0, done[0].stderr
    private = guest_owner.describe(guest)["PrivateIpAddress"]
    lines = [packets.line(each) for each in packets.read(file.read_bytes())]
    assert any(f" {private}:22 > " in line and "TCP" in line for line in lines), lines[:20]


def test_what_is_in_force_for_a_guest(real_cloud: RealCloud, guest_owner: User, guest: str) -> None:
    said = json.loads(real_cloud.stead_well("net", "look", guest, "--to", "198.51.100.7", "--output", "json"))
    assert [each["what"] for each in said][:3] == ["tap", "anti-spoofing", "security groups"]
    assert all(each["ok"] for each in said), said
    assert any(each["what"] == "route" and "internet" in each["detail"] for each in said)


def test_an_interface_that_is_not_there_is_a_clear_error(real_cloud: RealCloud) -> None:
    done = real_cloud.stead("net", "capture", "eni-0123456789abcdef0")
    assert done.returncode != 0
    assert "eni-0123456789abcdef0" in done.stderr
    assert "Traceback" not in done.stderr
