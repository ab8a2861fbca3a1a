"""DHCP by real servers for real clients: the right address for each machine, whatever was before."""

import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from stead_agent.dhcp import server_process
from stead_agent.dhcp.dnsmasq import Dnsmasq
from stead_agent.dhcp.interface import DhcpError
from tests.host.dhcp.conftest import Vm, Vpc, ip, read_events, without_host
from tests.support.dhcp_states import host
from tests.support.namespaces import inside
from tests.support.waiting import wait_for

pytestmark = pytest.mark.root


def pids(vpc: Vpc) -> list[int]:
    """All processes of a VPC's server."""
    return server_process.all_servers().get(vpc.folder / "dhcp" / f"vpc-{vpc.name}" / "dnsmasq.conf", [])


def address_of(vm: Vm) -> str | None:
    lease = vm.lease()
    return lease["ip"] if lease else None


def test_lease_has_all_that_a_guest_needs(dhcp: Dnsmasq, vpc: Vpc) -> None:
    dhcp.apply(vpc.wanted(5))
    assert vpc.vm(5).lease() == {
        "event": "bound",
        "ip": "172.31.0.5",
        "mask": "20",
        "router": "172.31.0.1",
        "dns": "172.31.0.2",
        "domain": "ec2.internal",
        "mtu": "1450",
        "lease": "3600",
        "server": "172.31.0.1",
        "hostname": "ip-172-31-0-5",
    }


def test_the_client_cannot_choose(dhcp: Dnsmasq, vpc: Vpc) -> None:
    dhcp.apply(vpc.wanted(5, 6))
    vm = vpc.vm(5)
    for options in (["-r", "172.31.0.6"], ["-x", "hostname:evil"], ["-x", "0x3d:00aabbccddeeff"], ["-C"]):
        lease = vm.lease(*options)
        assert lease
        assert (lease["ip"], lease["hostname"]) == ("172.31.0.5", "ip-172-31-0-5"), options


def test_unknown_mac_gets_no_lease(dhcp: Dnsmasq, vpc: Vpc) -> None:
    dhcp.apply(vpc.wanted(5))
    assert vpc.vm(9).gets_nothing()


def test_new_host_is_one_file_and_no_restart(dhcp: Dnsmasq, vpc: Vpc) -> None:
    dhcp.apply(vpc.wanted(5))
    before = pids(vpc)
    dhcp.apply(vpc.wanted(5, 6))
    assert address_of(vpc.vm(6)) == "172.31.0.6"
    dhcp.apply(vpc.wanted(5, 6))
    assert pids(vpc) == before
    assert len(before) == 1


def test_removed_host_is_forgotten(dhcp: Dnsmasq, vpc: Vpc) -> None:
    dhcp.apply(vpc.wanted(5, 6))
    vm = vpc.vm(6)
    assert address_of(vm) == "172.31.0.6"
    dhcp.apply(without_host(vpc.wanted(5, 6), 6))
    assert vm.gets_nothing()


def test_address_of_a_terminated_guest_goes_to_the_next(dhcp: Dnsmasq, vpc: Vpc) -> None:
    old, new = vpc.vm(5), vpc.vm(7)
    dhcp.apply(vpc.wanted(5))
    assert address_of(old) == "172.31.0.5"
    server = pids(vpc)
    heir = replace(host(7), address="172.31.0.5")
    dhcp.apply(replace(vpc.wanted(), hosts=(heir,)))
    assert address_of(new) == "172.31.0.5"
    assert old.gets_nothing()
    assert pids(vpc) == server


def test_two_guests_change_their_addresses(dhcp: Dnsmasq, vpc: Vpc) -> None:
    vms = [vpc.vm(5), vpc.vm(6)]
    dhcp.apply(vpc.wanted(5, 6))
    assert [address_of(vm) for vm in vms] == ["172.31.0.5", "172.31.0.6"]
    swapped = (replace(host(5), address="172.31.0.6"), replace(host(6), address="172.31.0.5"))
    dhcp.apply(replace(vpc.wanted(), hosts=swapped))
    assert [address_of(vm) for vm in vms] == ["172.31.0.6", "172.31.0.5"]


def test_running_client_is_moved_to_its_new_address(dhcp: Dnsmasq, vpc: Vpc) -> None:
    vm = vpc.vm(5)
    log = vm.folder / "client.log"
    dhcp.apply(vpc.wanted(5))
    client = vm.start_client(log)
    try:
        wait_for(lambda: [event for event in read_events(log) if event["event"] == "bound"], "the client has a lease")
        dhcp.apply(replace(vpc.wanted(), hosts=(replace(host(5), address="172.31.0.9"),)))
        client.send_signal(signal.SIGUSR1)  # renew now
        wait_for(lambda: read_events(log)[-1]["ip"] == "172.31.0.9", "the client has the new address")
    finally:
        client.kill()
        client.wait()


def test_lease_is_renewed_across_restarts_of_agent_and_server(dhcp: Dnsmasq, vpc: Vpc, folder: Path) -> None:
    vm = vpc.vm(5)
    log = vm.folder / "client.log"
    dhcp.apply(vpc.wanted(5))
    client = vm.start_client(log)

    def renewals(number: int) -> Callable[[], bool]:
        return lambda: sum(event["event"] == "renew" for event in read_events(log)) == number

    try:
        wait_for(lambda: [event for event in read_events(log) if event["event"] == "bound"], "the client has a lease")
        server = pids(vpc)
        later = Dnsmasq(folder / "dhcp")
        later.apply(vpc.wanted(5))
        assert pids(vpc) == server, "the later agent takes over the running server"
        client.send_signal(signal.SIGUSR1)
        wait_for(renewals(1), "the lease is renewed")
        # The host has lost power: no process, no lease file.
        os.kill(server[0], signal.SIGKILL)
        wait_for(lambda: not pids(vpc), "the server is dead")
        shutil.rmtree(folder / "dhcp")
        Dnsmasq(folder / "dhcp").apply(vpc.wanted(5))
        client.send_signal(signal.SIGUSR1)
        wait_for(renewals(2), "the new server renews a lease that it never gave")
        assert {event["ip"] for event in read_events(log) if event["event"] != "deconfig"} == {"172.31.0.5"}
    finally:
        client.kill()
        client.wait()


def test_neighbour_cannot_decline_or_release_for_another(dhcp: Dnsmasq, vpc: Vpc) -> None:
    victim, attacker = vpc.vm(5), vpc.vm(6)
    dhcp.apply(vpc.wanted(5, 6))
    assert address_of(victim) == "172.31.0.5"
    leases = vpc.folder / "dhcp" / f"vpc-{vpc.name}" / "leases"

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0\0")
            for kind in (4, 7):  # DHCPDECLINE, DHCPRELEASE
                message = struct.pack("!BBBBIHH4s", 1, 1, 6, 0, 1, 0, 0, socket.inet_aton("172.31.0.5")) + bytes(12)
                message += bytes([0x0E, 0, 0, 0, 0, 5]).ljust(16 + 64 + 128, b"\0") + bytes(
                    [99, 130, 83, 99, 53, 1, kind]
                )
                message += b"\x36\x04" + socket.inet_aton("172.31.0.1")
                message += b"\x32\x04" + socket.inet_aton("172.31.0.5") + b"\xff"
                sock.sendto(message, ("255.255.255.255", 67))

    inside(attacker.namespace, send)
    assert address_of(attacker) == "172.31.0.6", "the server has by now seen what came before"
    assert "172.31.0.5" in leases.read_text()
    assert address_of(victim) == "172.31.0.5"


def test_vpcs_with_the_same_addresses(dhcp: Dnsmasq, vpc: Vpc, request: pytest.FixtureRequest) -> None:
    dhcp.apply(vpc.wanted(5))
    ip(f"netns add {vpc.name}-x")
    vpc.namespaces.append(f"{vpc.name}-x")
    other = replace(
        vpc.wanted(5), vpc_id="vpc-other", namespace=Path("/run/netns", f"{vpc.name}-x"), domain="other.example"
    )
    dhcp.apply(other)
    lease = vpc.vm(5).lease()
    assert lease
    assert lease["domain"] == "ec2.internal"
    assert dhcp.present() == {f"vpc-{vpc.name}", "vpc-other"}
    dhcp.remove("vpc-other")
    assert dhcp.present() == {f"vpc-{vpc.name}"}
    assert len(pids(vpc)) == 1


def test_server_follows_its_namespace(dhcp: Dnsmasq, vpc: Vpc) -> None:
    ip(f"netns add {vpc.name}-old")
    vpc.namespaces.append(f"{vpc.name}-old")
    dhcp.apply(replace(vpc.wanted(5), namespace=Path("/run/netns", f"{vpc.name}-old")))
    dhcp.apply(vpc.wanted(5))
    assert address_of(vpc.vm(5)) == "172.31.0.5"
    assert len(pids(vpc)) == 1


def test_link_may_come_after_the_server(dhcp: Dnsmasq, vpc: Vpc) -> None:
    ip(f"-n {vpc.name} addr del 172.31.0.1/20 dev sub0")
    dhcp.apply(vpc.wanted(5))
    ip(f"-n {vpc.name} addr add 172.31.0.1/20 dev sub0")
    assert address_of(vpc.vm(5)) == "172.31.0.5"


def test_changed_options_reach_the_next_lease(dhcp: Dnsmasq, vpc: Vpc) -> None:
    vm = vpc.vm(5)
    dhcp.apply(vpc.wanted(5))
    assert address_of(vm) == "172.31.0.5"
    dhcp.apply(replace(vpc.wanted(5), domain="corp.example", dns_servers=(), mtu=1400))
    lease = vm.lease()
    assert lease
    assert (lease["domain"], lease["dns"], lease["mtu"], lease["ip"]) == ("corp.example", "", "1400", "172.31.0.5")
    assert len(pids(vpc)) == 1


def test_what_a_killed_agent_left_half_done_is_finished(dhcp: Dnsmasq, vpc: Vpc, folder: Path) -> None:
    dhcp.apply(vpc.wanted(5, 6))
    # Killed after it had deleted the file and before it signalled the server.
    (folder / "dhcp" / f"vpc-{vpc.name}" / "dhcp-hosts" / host(6).interface_id).unlink()
    Dnsmasq(folder / "dhcp").apply(vpc.wanted(5))
    assert vpc.vm(6).gets_nothing()
    assert address_of(vpc.vm(5)) == "172.31.0.5"


def test_server_that_ended_is_started_again(dhcp: Dnsmasq, vpc: Vpc) -> None:
    dhcp.apply(vpc.wanted(5))
    assert dhcp.audit() == ()
    os.kill(pids(vpc)[0], signal.SIGKILL)
    wait_for(lambda: not pids(vpc), "the server is dead")
    assert dhcp.audit() == (f"dnsmasq of vpc-{vpc.name} had ended",)
    assert address_of(vpc.vm(5)) == "172.31.0.5"


def test_forged_process_id_ends_no_process(dhcp: Dnsmasq, vpc: Vpc, folder: Path) -> None:
    dhcp.apply(vpc.wanted(5))
    server = pids(vpc)
    bystander = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    try:
        (folder / "dhcp" / f"vpc-{vpc.name}" / "pid").write_text(str(bystander.pid))
        dhcp.apply(vpc.wanted(5, 6))
        assert pids(vpc) == server
        dhcp.remove(f"vpc-{vpc.name}")
        assert pids(vpc) == []
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_another_agents_server_in_a_container_is_left_alone(dhcp: Dnsmasq, vpc: Vpc, folder: Path) -> None:
    """Its paths are the same, and its processes are seen from here."""
    configuration = folder / "dhcp/vpc-elsewhere/dnsmasq.conf"
    configuration.parent.mkdir(parents=True)
    configuration.write_text(f"port=0\nkeep-in-foreground\npid-file={folder}/pid\n", encoding="ascii")
    command = ["unshare", "--pid", "--fork", "dnsmasq", f"--conf-file={configuration}"]
    with subprocess.Popen(command) as container:
        try:
            wait_for((folder / "pid").exists, "it runs", 10)
            shutil.rmtree(configuration.parent)
            dhcp.apply(vpc.wanted(5))
            assert dhcp.present() == {f"vpc-{vpc.name}"}
            assert container.poll() is None
        finally:
            [server] = Path(f"/proc/{container.pid}/task/{container.pid}/children").read_text().split()
            os.kill(int(server), signal.SIGKILL)


def test_server_has_no_rights_beyond_its_sockets(dhcp: Dnsmasq, vpc: Vpc) -> None:
    dhcp.apply(vpc.wanted(5))
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pids(vpc)[0]}/status").read_text().splitlines() if ":\t" in line
    )
    assert "0" not in status["Uid"].split()
    allowed = 1 << 10 | 1 << 12 | 1 << 13  # CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, CAP_NET_RAW
    assert int(status["CapEff"], 16) & ~allowed == 0


def test_removal_leaves_nothing_and_may_be_repeated(dhcp: Dnsmasq, vpc: Vpc, folder: Path) -> None:
    dhcp.apply(vpc.wanted(5))
    (server,) = pids(vpc)
    for _ in range(2):
        dhcp.remove(f"vpc-{vpc.name}")
        assert not list((folder / "dhcp").iterdir())
        assert server_process.configuration_of(server) is None
    dhcp.apply(replace(vpc.wanted(), subnets=(), resolver_addresses=()))
    assert dhcp.present() == frozenset()


def test_folder_that_the_server_cannot_reach_is_an_error(vpc: Vpc, folder: Path) -> None:
    (folder / "closed").mkdir(mode=0o700)
    with pytest.raises(DhcpError, match="closed to other users"):
        Dnsmasq(folder / "closed" / "dhcp").apply(vpc.wanted(5))


def test_missing_namespace_is_an_error(dhcp: Dnsmasq, vpc: Vpc) -> None:
    with pytest.raises(DhcpError, match="did not start"):
        dhcp.apply(replace(vpc.wanted(5), namespace=Path("/run/netns/none-of-this-name")))
    dhcp.apply(vpc.wanted(5))
    assert address_of(vpc.vm(5)) == "172.31.0.5"
