"""A NAT gateway, on its clients' host and on another: who is hidden by it, and what it does not let through."""

import contextlib
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from stead_agent.network import interface as net
from stead_agent.network.interface import NetworkError
from stead_agent.network.namespaces import GATEWAY_PREFIX
from stead_agent.network.plan import Step
from stead_agent.network.rtnetlink import Kernel
from tests.host.network.hosts import Cloud, new_cloud
from tests.host.network.world import Guest

OUTSIDE = "203.0.113.7"  # an address that only the router has, which plays the world
EVERYWHERE = "0.0.0.0/0"


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with new_cloud(2) as made:
        yield made


def _world(cloud: Cloud, home: int) -> tuple[str, net.NatGateway, Guest, Guest]:
    """A client on the first host, a NAT gateway at `home`, and behind it a router that has an outside address."""
    vpc = cloud.vpc("10.0.0.0/16", "10.0.1.0/24", "10.0.2.0/24", "10.0.3.0/24")
    client = cloud.guest(vpc, 0, "10.0.1.10")
    outside = cloud.guest(vpc, 0, "10.0.3.5", 2, is_router=True)
    gateway = cloud.nat_gateway(vpc, home, "10.0.2.7", 1)

    def add() -> None:
        with IPRoute() as ip:
            ip.link("set", index=1, state="up")
            ip.addr("add", index=1, address=OUTSIDE, prefixlen=32)

    outside.world.machine.inside(outside.namespace, add)
    cloud.route(vpc, 0, net.TableRoute(EVERYWHERE, net.RouteTo.INTERFACE, gateway.interface_id))
    cloud.route(vpc, 1, net.TableRoute(EVERYWHERE, net.RouteTo.INTERFACE, outside.interface_id))
    return vpc, gateway, client, outside


@pytest.mark.parametrize("home", [0, 1])
def test_clients_are_hidden(cloud: Cloud, home: int) -> None:
    vpc, _, client, outside = _world(cloud, home)
    assert cloud.reaches(client, outside, OUTSIDE) == "10.0.2.7"
    assert client.pings(OUTSIDE)
    outside.listen(80)
    assert client.connect(OUTSIDE, 80)
    assert cloud.reaches(client, outside) == client.address  # inside, everybody is who he is
    for host in cloud.hosts:
        assert host.network.audit() == ()
    # Nobody begins from outside, neither with the gateway nor through it.
    client.listen(81)
    assert not outside.pings("10.0.2.7")
    assert not outside.connect("10.0.2.7", 81)
    watch = client.frames()
    _through(outside, cloud, vpc)
    assert [frame for frame in watch.read() if frame[12:14] == b"\x08\0"] == []


def _through(outside: Guest, cloud: Cloud, vpc: str) -> None:
    """Let the world send to the client's own address by way of the gateway."""
    gateway = cloud.vpcs[vpc].nat_gateways[0]
    cloud.route(vpc, 2, net.TableRoute("10.0.1.0/24", net.RouteTo.INTERFACE, gateway.interface_id))
    with outside.open(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind((OUTSIDE, 0))
        sender.sendto(b"?", ("10.0.1.10", 7))


def test_an_idle_flow_is_forgotten_and_reset(cloud: Cloud) -> None:
    """350 s, as EC2 says; whoever goes on with such a flow gets a reset."""
    _, gateway, client, outside = _world(cloud, 0)
    namespaces = cloud.hosts[0].namespaces
    for name in ("tcp_timeout_established", "udp_timeout", "udp_timeout_stream", "icmp_timeout", "generic_timeout"):
        path = Path(f"/proc/sys/net/netfilter/nf_conntrack_{name}")
        assert namespaces.inside(gateway.id, path.read_text).strip() == "350"
    outside.listen(80)
    connected = client.connect(OUTSIDE, 80)
    assert connected
    connected.send(b"this is the last that the gateway remembers")
    cloud.hosts[0].settle()
    namespaces.inside(gateway.id, _forget_flows)
    connected.send(b"and this it does not know")
    cloud.hosts[0].settle()
    with pytest.raises(ConnectionResetError):
        connected.recv(1)


def _forget_flows() -> None:
    """Empty the namespace's table of tracked flows (IPCTNL_MSG_CT_DELETE without a flow)."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as netfilter:
        netfilter.send(struct.pack("=IHHIIBBH", 20, 0x102, 5, 1, 0, 0, 0, 0))
        assert struct.unpack_from("=i", netfilter.recv(100), 16) == (0,)


def test_what_passes_is_counted(cloud: Cloud) -> None:
    _, gateway, client, outside = _world(cloud, 0)
    network = cloud.hosts[0].network

    def passed() -> net.GatewayCounters:
        return network.gateway_counters([gateway.id])[gateway.id]

    assert passed() == net.GatewayCounters()
    assert cloud.reaches(client, outside, OUTSIDE) == "10.0.2.7"  # 5 bytes, and headers of 28
    unanswered = net.GatewayCounters(
        flows=1,
        attempts=1,
        from_source_bytes=33,
        from_source_packets=1,
        to_destination_bytes=33,
        to_destination_packets=1,
    )
    assert passed() == unanswered
    assert client.pings(OUTSIDE)
    answered = passed()
    assert (answered.attempts, answered.established, answered.flows) == (2, 1, 2)
    assert answered.from_destination_packets == answered.to_source_packets == 1
    assert answered.from_destination_bytes == answered.to_source_bytes == answered.from_source_bytes - 33
    with client.udp(1024) as sender:  # who asks again has not begun another flow
        for _ in range(3):
            sender.sendto(b"probe", (OUTSIDE, 7))
    cloud.hosts[0].settle()
    assert (passed().attempts, passed().from_source_packets) == (3, 5)
    # Whoever goes on, in a flow that is answered already, has not begun another.
    outside.listen(80)
    assert client.connect(OUTSIDE, 80)
    assert (passed().attempts, passed().established) == (4, 2)
    with client.open(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as sender:
        sender.sendto(struct.pack("!HHIIBBHHH", 7, 7, 0, 0, 5 << 4, 0, 0, 0, 0), (OUTSIDE, 0))  # without a flag
    cloud.hosts[0].settle()
    assert passed().dropped == 1
    assert network.audit() == ()
    assert network.gateway_counters(["nat-0123456789abcdef0"]) == {}
    cloud.restart()
    assert passed().attempts == 4, "a new agent that reads does not change them"


def test_flows_without_a_free_port_are_counted(cloud: Cloud) -> None:
    """To one place, 64,512 flows can be told from each other by their ports."""
    vpc, gateway, client, _ = _world(cloud, 0)
    second = cloud.guest(vpc, 0, "10.0.1.11")
    for guest in (client, second):
        with guest.open(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as sender:
            for port in range(1024, 1024 + 32_300):
                sender.sendto(struct.pack("!HHHH", port, 7, 8, 0), (OUTSIDE, 0))
                if port % 256 == 0:
                    cloud.hosts[0].settle()
    cloud.hosts[0].settle()
    passed = cloud.hosts[0].network.gateway_counters([gateway.id])[gateway.id]
    assert passed.attempts == 64_600
    assert passed.flows == 64_600 - passed.without_port
    assert passed.flows <= 64_512


def test_audit_repairs_and_nothing_is_left(cloud: Cloud) -> None:
    vpc, gateway, client, outside = _world(cloud, 0)
    host = cloud.hosts[0]
    tap = net.tap_name(gateway.interface_id)
    for damage in (
        ("nft", "flush", "ruleset"),
        ("nft", "add", "rule", "ip", "stead", "forward", "accept"),
        ("ip", "route", "flush", "table", "main"),
        ("ip", "link", "set", "eth0", "down"),
    ):
        host.inside_run(gateway.id, *damage)
        assert host.network.audit()
        assert host.network.audit() == ()
        host.wait_for_carriers()
        assert cloud.reaches(client, outside, OUTSIDE) == "10.0.2.7"
    host.at_host_run("ip", "link", "set", "dev", tap, "type", "bridge_slave", "isolated", "off")
    assert len(host.network.audit()) == 1
    host.at_host_run("ip", "link", "delete", tap)
    assert host.network.audit()
    host.wait_for_carriers()
    assert cloud.reaches(client, outside, OUTSIDE) == "10.0.2.7"
    cloud.restart()
    cloud.apply(vpc)
    assert host.network.audit() == ()
    cloud.forget(vpc, gateway.interface_id)
    assert host.namespaces.listed(GATEWAY_PREFIX) == frozenset()
    assert tap not in host.at_host_run("ip", "link")
    again = cloud.nat_gateway(vpc, 0, "10.0.2.8", 1)
    assert host.namespaces.listed(GATEWAY_PREFIX) == {again.id}
    host.network.remove(vpc)
    assert host.namespaces.listed(GATEWAY_PREFIX) == frozenset()
    assert host.network.present() == frozenset()


def test_killed_at_every_step(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a gateway lacks after a crash, a new agent completes it, or removes all of it if nobody wants it."""
    vpc = cloud.vpc("10.0.0.0/16", "10.0.1.0/24")
    host = cloud.hosts[0]
    carry_out = Kernel.carry_out
    cloud.guest(vpc, 0, "10.0.1.10")
    step, done = 0, False
    while not done:
        left = [step]

        def fail(kernel: Kernel, one: Step, left: list[int] = left) -> None:
            if left[0] == 0:
                raise NetworkError("killed")
            left[0] -= 1
            carry_out(kernel, one)

        monkeypatch.setattr(Kernel, "carry_out", fail)
        with contextlib.suppress(NetworkError):  # it was killed: the loop goes on with the next step
            cloud.nat_gateway(vpc, 0, "10.0.1.7")
            done = True
        monkeypatch.setattr(Kernel, "carry_out", carry_out)
        interface = cloud.vpcs[vpc].interfaces[-1]
        cloud.restart()
        if step % 2:
            cloud.apply(vpc)
            assert host.network.audit() == ()
        cloud.forget(vpc, interface.id)
        assert host.namespaces.listed(GATEWAY_PREFIX) == frozenset()
        assert net.tap_name(interface.id) not in host.at_host_run("ip", "link")
        assert host.network.audit() == ()
        step += 1
    assert step > 5
