"""A rig of several hosts in this machine: made, looked at, used with real guests, and gone without a trace."""

import json
import socket
import subprocess
import threading
from itertools import chain
from pathlib import Path
from typing import Any, cast

import pytest

from stead_cli.rig_places import RigPlace
from stead_cli.rig_plan import CALLER_IPV6_ADDRESS, FAR_IPV6_ADDRESS, VXLAN_BYTES
from tests.support import halting_image, leaks
from tests.support.real_cloud import registers_of
from tests.support.rig import RigUser, TestRig
from tests.support.street import Street
from tests.support.waiting import wait_for


def test_guests_on_two_hosts_are_reached_from_the_internet(rig: TestRig, street: Street) -> None:
    """One guest on each of two hosts; the internet reaches each by its public address, and is seen as what it is."""
    guests = [street.west.id, street.east.id]
    found = [host.place.run("virsh", "list", "--name").stdout.split() for host in rig.hosts]
    assert [guest in names for guest, names in zip(guests, found, strict=False)] == [True, True], found
    assert found[2] == []
    assert [registers_of(guest).count(" HLT=") for guest in guests] == [1, 1], "told of a guest that does not answer"
    for guest in guests:
        login = street.user.login(guest)
        client = street.user.run_from_internet(login, "echo $SSH_CLIENT").split()[0]
        assert client == str(rig.plan.gateway)
        # And out again, through the host's uplink, to the world and to the other by its public address.
        assert "1 packets received" in login.run(f"ping -c 1 -W 5 {rig.plan.gateway}")
    assert "SSH-2.0" in login.run(f"timeout 25 nc {street.west.public_address} 22 </dev/null | head -c 20")


def test_status_knows_all_parts(rig: TestRig) -> None:
    said = json.loads(rig.stead_well("rig", "status", "--output", "json"))
    assert said["well"]
    assert [part["part"] for part in said["parts"]] == ["controller", "internet", "host-1", "host-2", "host-3"]
    assert {part["state"] for part in said["parts"] if part["part"].startswith("host-")} == {"up"}
    assert rig.stead("status").stderr.count("is a rig")


def test_a_network_that_leads_elsewhere_is_refused(rig: TestRig) -> None:
    """As by a cloud with public addresses of the same network, whose host knows no way to those that nobody has."""
    block = str(next(rig.plan.public_pool.subnets(new_prefix=24)))
    subprocess.run(["ip", "route", "add", "unreachable", block], check=True)
    try:
        refused = rig.stead("rig", "up")
    finally:
        subprocess.run(["ip", "route", "delete", "unreachable", block], check=True)
    assert refused.returncode == 1
    assert f"could not be reached: {block} leads nowhere" in refused.stderr
    assert rig.stead("rig", "up").returncode == 0


def test_nothing_leads_out_of_a_rig(rig: TestRig) -> None:
    """No place but the caller's has a link of the machine's, and the internet knows no way but to the caller."""
    own = {"lo", "underlay", "uplink", "internet", "caller", "stead0", *rig.ids}
    for place in rig.rig.places.values():
        for link in json.loads(place.run("ip", "-j", "-d", "link").stdout):
            kind = link.get("linkinfo", {}).get("info_kind")  # a device that is real has none
            of_a_guest = leaks.is_our_link(link["ifname"]) and kind in {"bridge", "ifb", "tun", "veth"}
            assert link["ifname"] in own or of_a_guest, f"{place.name}: {link}"
    assert rig.internet.run("ip", "route", "get", "8.8.8.8").returncode != 0
    # A host of the rig may not begin anything with the caller, who may be listening on all addresses.
    caller = str(rig.plan.caller_internet_address)
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        assert "timed out" in _connect(rig.hosts[0].place, caller, port)
        assert "timed out" in _connect(rig.hosts[0].place, CALLER_IPV6_ADDRESS, port)
    assert "refused" in _connect(rig.hosts[0].place, FAR_IPV6_ADDRESS, 9)
    # The answers of those whom the caller calls do come.
    address = str(rig.plan.host_uplink_address(1))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address, 9), timeout=5)
    assert "refused" in _connect(rig.internet, address, 9)


def _connect(place: RigPlace, address: str, port: int) -> str:
    """Try a TCP connection in a place, and return the error's words."""
    code = f"import socket; socket.create_connection(({address!r}, {port}), timeout=2)"
    return place.run("python3", "-c", code).stderr


def test_a_host_is_entered_and_a_command_ends_as_it_does(rig: TestRig) -> None:
    assert rig.stead_well("rig", "exec", "host-2", "--", "hostname").strip() == "host-2"
    assert rig.stead_well("rig", "exec", "2", "hostname").strip() == "host-2"
    assert rig.stead("rig", "exec", "host-2", "sh", "-c", "exit 7").returncode == 7
    assert rig.stead("rig", "exec", "host-9", "true").returncode == 1
    assert rig.stead("rig", "exec", "host-2", "no-such-program").returncode == 127


def test_underlay_carries_what_guests_send_in_one_piece(rig: TestRig) -> None:
    """1500 bytes of a guest and 50 of VXLAN fit between hosts, without fragments."""
    payload = rig.plan.guest_mtu + VXLAN_BYTES - 28  # less IP and UDP
    receiver, sender = rig.hosts[0].place, rig.hosts[1].place
    address = str(rig.plan.host_underlay_address(1))
    ready = threading.Event()
    got: list[str] = []

    def receive() -> None:
        code = f"import socket; s = socket.socket(type=2); s.bind(({address!r}, 7007)); s.settimeout(20); print(len(s.recv(65536)))"
        ready.set()
        got.append(receiver.run("python3", "-c", code).stdout.strip())

    thread = threading.Thread(target=receive)
    thread.start()
    ready.wait()
    code = f"import socket; s = socket.socket(type=2); s.setsockopt(0, 10, 2); s.sendto(bytes({payload}), ({address!r}, 7007))"  # IP_MTU_DISCOVER, DO
    wait_for(lambda: sender.run("python3", "-c", code).returncode == 0 and (not thread.is_alive() or got), "it arrives")
    thread.join()
    assert got == [str(payload)]


def test_placement_groups_hold_on_three_hosts(rig: TestRig, tmp_path: Path) -> None:
    """By where libvirt has each instance's domain; the guests need not boot."""
    user = RigUser(rig, rig.new_account(), tmp_path, rig=rig)
    ec2, image_id = cast("Any", user.ec2), halting_image.add(rig.operator, tmp_path)
    groups = {
        strategy: ec2.create_placement_group(GroupName=strategy, Strategy=strategy, **given)["PlacementGroup"][
            "GroupId"
        ]
        for strategy, given in (("spread", {}), ("partition", {"PartitionCount": 3}), ("cluster", {}))
    }
    launched: list[str] = []

    def launch(strategy: str, count: int = 1, **placement: int) -> list[str]:
        """Launch into a group; return the names of the hosts on which the instances run."""
        into = {"GroupName": strategy, **placement}
        ids = user.run(count, InstanceType="stead.pico", ImageId=image_id, Placement=into)
        launched.extend(ids)
        domains = {host.name: host.place.run("virsh", "list", "--name").stdout.split() for host in rig.hosts}
        return [name for each in ids for name, there in domains.items() if each in there]

    try:
        assert sorted(launch("spread", 3)) == sorted(host.name for host in rig.hosts)
        with pytest.raises(ec2.exceptions.ClientError, match="InsufficientInstanceCapacity"):
            launch("spread")
        said = rig.stead_well("placement", "explain", "stead.pico", "--group", groups["spread"])
        assert said.count("has an instance of the spread placement group") == 3
        parts = [launch("partition", PartitionNumber=number) for number in (1, 2, 3)]
        assert sorted(chain(*parts)) == sorted(host.name for host in rig.hosts)
        assert launch("partition", PartitionNumber=2) == parts[1]
        [first, second] = launch("cluster", 2)
        assert first == second
    finally:
        ec2.terminate_instances(InstanceIds=launched, SkipOsShutdown=True)
        user.wait("instance_terminated", launched)
        for strategy in groups:
            ec2.delete_placement_group(GroupName=strategy)
