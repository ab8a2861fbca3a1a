"""`stead net` on a real guest: its packets, and what its host has in force for it."""

import ipaddress
import json
import socket
import subprocess
import threading
from pathlib import Path

from pyroute2 import IPRoute

from stead_agent.network.interface import tap_name
from stead_cli import packets
from tests.support.real_cloud import RealCloud, User
from tests.support.waiting import wait_for

METADATA = "169.254.169.254"


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


def listening() -> set[int]:
    """The TCP ports on which anything of the host listens, on whatever address."""
    lines = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    return {int(words[1].rpartition(":")[2], 16) for words in lines if words[3] == "0A"}


def test_a_guest_finds_none_of_its_hosts_ports(real_cloud: RealCloud, guest_owner: User, guest: str) -> None:
    """FAULTS 14: neither controller nor agent, libvirt, QEMU or storage daemons; metadata and AWS's APIs are all."""
    subnet_id = guest_owner.describe(guest)["SubnetId"]
    [subnet] = guest_owner.ec2.describe_subnets(SubnetIds=[subnet_id])["Subnets"]
    gateway = str(next(ipaddress.IPv4Network(subnet["CidrBlock"]).hosts()))
    addresses = {gateway, METADATA}
    with IPRoute() as kernel:
        for address in kernel.get_addr(family=socket.AF_INET):
            addresses.add(address.get_attr("IFA_ADDRESS"))
    ports = listening() | {22, 80, 5900, 5999, 10809, 16509, 16514}
    assert len(ports) > 8
    settings = real_cloud.settings
    served = {(METADATA, 80), *((settings.guest_listen, port) for port in settings.guest_ports)}
    machine = guest_owner.login(guest)
    # What is served is asked first and alone, for as long as a busy machine may take; all others must not answer at
    # once, and are asked thirty-two at a time: the guest is small, and hundreds of processes would not all be started.
    for address, port in served:
        machine.run(f"nc -w 60 {address} {port} -e true </dev/null", 70)
    others = "\n".join(
        f"{address} {port}"
        for address in sorted(addresses - {"127.0.0.1"})
        for port in sorted(ports)
        if (address, port) not in served
    )
    script = f"""cd $(mktemp -d)
cat >asked <<'END'
{others}
END
xargs -n 2 -P 32 sh -c 'nc -w 3 "$0" "$1" -e true </dev/null >/dev/null 2>&1 && : >"$0:$1"; : >>"$0:$1.asked"' <asked
ls | grep -c asked$
ls | grep -v asked$ || true"""
    count, *found = machine.run(script, 300).split()
    assert int(count) == others.count("\n") + 2, "as many were asked as there are, and the list itself"
    assert found == []


def test_an_interface_that_is_not_there_is_a_clear_error(real_cloud: RealCloud) -> None:
    done = real_cloud.stead("net", "capture", "eni-0123456789abcdef0")
    assert done.returncode != 0
    assert "eni-0123456789abcdef0" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_tap_that_is_set_down_comes_back(guest_owner: User, guest: str) -> None:
    """By itself, within ten seconds: neither an answer of the API nor a reboot would show it."""
    [interface] = guest_owner.describe(guest)["NetworkInterfaces"]
    tap = tap_name(interface["NetworkInterfaceId"])
    for damage in (("set", tap, "down"), ("set", tap, "nomaster")):
        subprocess.run(("ip", "link", *damage), check=True)
        wait_for(lambda: _is_well(tap), f"{damage} is mended", 10)
    guest_owner.login(guest).run("true")


def test_a_tap_that_is_deleted_comes_back_and_the_guest_goes_on(guest_owner: User, guest: str) -> None:
    """QEMU has it open and would end at its next use, such as a reboot."""
    [interface] = guest_owner.describe(guest)["NetworkInterfaces"]
    tap, login = tap_name(interface["NetworkInterfaceId"]), guest_owner.login(guest)
    boot = login.run("cat /proc/sys/kernel/random/boot_id")
    subprocess.run(("ip", "link", "delete", tap), check=True)
    wait_for(lambda: Path(f"/sys/class/net/{tap}").exists() and _is_well(tap), "it is made anew", 10)
    assert login.run("cat /proc/sys/kernel/random/boot_id") == boot


def _is_well(tap: str) -> bool:
    shown = subprocess.run(("ip", "-j", "-d", "link", "show", tap), capture_output=True, check=True).stdout
    [link] = json.loads(shown)
    return "UP" in link["flags"] and "master" in link and link["linkinfo"]["info_slave_data"]["isolated"]
