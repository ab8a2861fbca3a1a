"""A VPC's links, addresses and routes on a real kernel: made, left alone, changed, repaired, removed without a trace."""

import contextlib
import socket
import threading
import zlib
from collections.abc import Iterator
from dataclasses import replace

import pytest

from stead_agent.network import interface as net
from stead_agent.network.interface import NetworkError
from stead_agent.network.kernel import KernelNetwork
from stead_agent.network.plan import Step
from stead_agent.network.rtnetlink import Kernel
from tests.host.network.world import HOST_ADDRESS, POOL, World, add_outside, new_world
from tests.support.waiting import wait_for

HOST = net.HostNetwork((POOL,))
TABLE = str(0x5400_0000 + zlib.crc32(b"rtb-1") % (1 << 24))
ALL_GROUPS = 0x1 | 0x4 | 0x10 | 0x40  # links, neighbours, IPv4 addresses, IPv4 routes: RTMGRP_…


@pytest.fixture
def world() -> Iterator[World]:
    with new_world() as made:
        yield made


def desired(number: int = 1, interfaces: int = 2) -> net.VpcNetwork:
    """A VPC with two subnets, and interfaces that have a public address each."""
    subnets = tuple(
        net.Subnet(f"subnet-{number:04x}0000000{i:x}", f"10.{number}.{i}.0/24", route_table_id="rtb-1")
        for i in range(2)
    )
    return net.VpcNetwork(
        f"vpc-{number:016x}0",
        number,
        (f"10.{number}.0.0/16",),
        subnets,
        tuple(
            net.LocalInterface(
                f"eni-{number:08x}{i:08x}",
                subnets[i % 2].id,
                f"06:00:00:{number:02x}:00:{i:02x}",
                (f"10.{number}.{i % 2}.{10 + i}",),
                (net.PublicAddress(f"198.51.100.{number * 10 + i}", f"10.{number}.{i % 2}.{10 + i}"),),
                bandwidth=net.Bandwidth(f"i-{number:08x}{i % 2:08x}", f"vpc-{number:016x}0", 500 + i % 2, 1000),
            )
            for i in range(interfaces)
        ),
        route_tables=(net.RouteTable("rtb-1", (net.TableRoute("0.0.0.0/0", net.RouteTo.INTERNET),)),),
    )


def everything(world: World, vpc_id: str | None = None) -> str:
    """All that ip(8) and nft(8) know of the host's namespace, and of a VPC's."""
    shown = ""
    for command in (
        "-o link",
        "-o -4 address",
        "route show table all",
        "rule",
        "neigh show nud all",
        "neigh show proxy",
    ):
        shown += world.at_host_run("ip", *command.split())
        if vpc_id:
            shown += world.inside_run(vpc_id, "ip", *command.split())
    return shown + world.at_host_run("nft", "list", "ruleset")


def settle(world: World, *vpcs: str) -> None:
    """Wait until all links are as they stay: the kernel tells of carriers a moment later (net/core/link_watch.c)."""
    world.wait_for_carriers(vpcs=vpcs)
    bridges = ("ip", "-o", "link", "show", "type", "bridge")
    wait_for(lambda: "state UNKNOWN" not in world.at_host_run(*bridges), "the kernel knows the bridges' carriers")


class Events:
    """What the kernel tells of changes in a namespace from now on."""

    def __init__(self, world: World, vpc_id: str | None) -> None:
        self.wire = world.namespaces.inside(
            vpc_id, lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK)
        )
        self.wire.bind((0, ALL_GROUPS))

    def seen(self) -> int:
        count = 0
        with self.wire, contextlib.suppress(BlockingIOError):  # no more has come
            while self.wire.recv(1 << 16):
                count += 1
        return count


def test_applying_again_changes_nothing(world: World) -> None:
    """Neither by the same agent nor by one that was just started: the kernel gets no command."""
    world.network.apply_host(HOST)
    world.network.apply(desired())
    world.wait_for_carriers(vpcs=(desired().vpc_id,))
    for _ in range(2):
        events = [Events(world, None), Events(world, desired().vpc_id)]
        world.network.apply_host(HOST)
        world.network.apply(desired())
        assert world.network.audit() == ()
        assert [event.seen() for event in events] == [0, 0]
        world.network = KernelNetwork(world.namespaces)


def test_nothing_is_left(world: World) -> None:
    world.network.apply_host(HOST)
    settle(world)
    before = everything(world)
    world.network.apply(desired(1))
    settle(world, desired(1).vpc_id)
    two_before = everything(world)
    world.network.apply(desired(2))
    assert world.network.present() == {desired(1).vpc_id, desired(2).vpc_id}
    world.network.remove(desired(2).vpc_id)
    settle(world, desired(1).vpc_id)
    assert _names(everything(world)) == _names(two_before)
    world.network = KernelNetwork(world.namespaces)
    world.network.apply_host(HOST)
    world.network.remove(desired(1).vpc_id)
    world.network.remove(desired(1).vpc_id)
    assert everything(world) == before
    assert world.network.present() == set()
    assert not world.namespaces.path(desired(1).vpc_id).exists()


def _names(shown: str) -> list[str]:
    """Lines without what the kernel numbers."""
    return sorted(line.split(": ", 1)[-1] for line in shown.splitlines())


def test_a_small_change_is_a_small_work(world: World) -> None:
    """One interface more: one neighbour and one route, and no other word to the kernel."""
    world.network.apply_host(HOST)
    world.network.apply(desired(1, 2))
    world.wait_for_carriers(vpcs=(desired().vpc_id,))
    events = [Events(world, None), Events(world, desired().vpc_id)]
    world.network.apply(desired(1, 3))
    assert [event.seen() for event in events] == [1, 1]
    assert "198.51.100.12" in everything(world)
    world.network.apply(desired(1, 2))
    assert "198.51.100.12" not in everything(world)


def test_subnets_come_and_go_and_links_change(world: World) -> None:
    world.network.apply_host(HOST)
    full = desired()
    world.network.apply(replace(full, subnets=full.subnets[:1], interfaces=full.interfaces[:1]))
    settle(world, full.vpc_id)
    small = everything(world, full.vpc_id)
    world.network.apply(full)
    world.network.apply(replace(full, mtu=1400))
    assert everything(world, full.vpc_id).count("mtu 1400") == 8  # two bridges, three pairs
    world.network.apply(replace(full, cidrs=(*full.cidrs, "10.9.0.0/16")))
    assert "10.9.0.2/32" in everything(world, full.vpc_id)
    world.network.apply(replace(full, subnets=full.subnets[:1], interfaces=full.interfaces[:1]))
    settle(world, full.vpc_id)
    assert sorted(everything(world, full.vpc_id).splitlines()) == sorted(small.splitlines())
    assert world.network.audit() == ()


@pytest.mark.parametrize("remembers", [True, False])
def test_killed_at_every_step(world: World, monkeypatch: pytest.MonkeyPatch, remembers: bool) -> None:
    """Whatever was done when it ended, the next time completes it: by the same agent, or by a new one."""
    world.network.apply_host(HOST)
    carry_out = Kernel.carry_out
    vpc, done = desired(), False
    step = 0
    while not done:
        left = [step]

        def fail(kernel: Kernel, one: Step, left: list[int] = left) -> None:
            if left[0] == 0:
                raise NetworkError("killed")
            left[0] -= 1
            carry_out(kernel, one)

        monkeypatch.setattr(Kernel, "carry_out", fail)
        try:
            world.network.apply(vpc)
            done = True
        except NetworkError:
            step += 3
        monkeypatch.setattr(Kernel, "carry_out", carry_out)
        if not remembers:
            world.network = KernelNetwork(world.namespaces)
            world.network.apply_host(HOST)
        world.network.apply(vpc)
        assert world.network.audit() == ()
        world.network.remove(vpc.vpc_id)
    assert step > 30


def test_come_and_gone_and_come_again(world: World) -> None:
    """What an agent saw when it began is not what is there after it removed that."""
    world.network.apply_host(HOST)
    world.network.apply(desired(1))
    world.network = KernelNetwork(world.namespaces)
    world.network.apply_host(HOST)
    for number in (1, 2, 1, 2):
        world.network.remove(desired(number).vpc_id)
        world.network.apply(desired(number))
        assert world.network.audit() == ()
    assert world.network.present() == {desired(1).vpc_id, desired(2).vpc_id}


def test_half_made_links_of_unknown_owners_go_at_start(world: World) -> None:
    """A crash between making a link and naming its owner leaves what no VPC would ever remove."""
    world.at_host_run("ip", "link", "add", "stb000000000bad", "type", "bridge")
    world.at_host_run("ip", "link", "add", "br-of-others", "type", "bridge")
    world.at_host_run("ip", "link", "add", "stt000000000bad", "type", "bridge")  # a tap is libvirt's
    world.network.apply_host(HOST)
    shown = world.at_host_run("ip", "-br", "link")
    assert "stb000000000bad" not in shown
    assert "br-of-others" in shown
    assert "stt000000000bad" in shown


def test_what_is_not_ours_is_left_alone(world: World) -> None:
    world.at_host_run("ip", "link", "add", "lan0", "type", "bridge")
    world.at_host_run("ip", "address", "add", "192.0.2.7/24", "dev", "lan0")
    world.at_host_run("ip", "link", "set", "lan0", "up")
    world.at_host_run("ip", "route", "add", "198.51.100.77/32", "dev", "lan0")
    world.at_host_run("ip", "route", "add", "unreachable", "10.77.0.0/16")
    world.network.apply_host(HOST)
    world.network.apply(desired())
    assert world.network.audit() == ()
    world.network.apply_host(net.HostNetwork(()))
    world.network.remove(desired().vpc_id)
    shown = everything(world)
    for theirs in ("192.0.2.7/24", "198.51.100.77 dev lan0", "unreachable 10.77.0.0/16"):
        assert theirs in shown
    for ours in (f"unreachable {POOL}", HOST_ADDRESS, "stead0"):
        assert ours not in shown


def test_the_host_is_not_made_a_router(world: World) -> None:
    world.network.apply_host(HOST)
    world.network.apply(desired())
    assert world.at_host_run("sysctl", "-n", "net.ipv4.ip_forward").strip() == "0"
    for family in ("ip", "ip6", "arp"):
        assert world.at_host_run("sysctl", "-n", f"net.bridge.bridge-nf-call-{family}tables").strip() == "0"


def test_audit_repairs(world: World) -> None:
    world.network.apply_host(HOST)
    vpc = desired()
    world.network.apply(vpc)
    settle(world, vpc.vpc_id)
    whole = _names(everything(world, vpc.vpc_id))
    inside = ("nsenter", f"--net={world.namespaces.path(vpc.vpc_id)}", "ip")
    gateway = net.subnet_link_name(vpc.subnets[0].id)
    for damage in (
        ("ip", "link", "set", net.bridge_name(vpc.subnets[0].id), "down"),
        ("ip", "route", "delete", "198.51.100.10/32"),
        ("ip", "route", "delete", "unreachable", POOL),
        ("ip", "address", "flush", "dev", "stead0"),
        (*inside, "address", "delete", "169.254.169.254/32", "dev", "lo"),
        (*inside, "route", "flush", "table", TABLE),
        (*inside, "rule", "delete", "iif", gateway),
        (*inside, "link", "set", gateway, "address", "02:00:00:00:00:99"),
        (*inside, "neigh", "add", "10.1.0.99", "lladdr", "02:00:00:00:00:98", "dev", gateway),
    ):
        world.at_host_run(*damage)
        assert len(world.network.audit()) >= (0 if "neigh" in damage else 1), damage
        assert world.network.audit() == ()
        settle(world, vpc.vpc_id)
        wait_for(lambda: _names(everything(world, vpc.vpc_id)) == whole, f"all is well after {damage}")


def test_many_vpcs_at_once(world: World) -> None:
    """Worker threads apply different VPCs side by side; each VPC's own address on its internet link is unique."""
    world.network.apply_host(HOST)
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for interfaces in (1, 3, 2):
                world.network.apply(desired(number, interfaces))
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert world.network.audit() == ()
    assert len(world.network.present()) == 8
    for number in range(1, 9):
        world.network.remove(desired(number).vpc_id)
    assert world.network.present() == set()


def test_the_way_to_public_addresses_on_other_hosts_is_no_drift(world: World) -> None:
    """Where the pool is part of the uplink's own subnet: what is not here is asked for there."""
    add_outside(world, "198.51.100.2/23", "198.51.100.1/23", default=False)

    def way() -> str:
        return world.at_host_run("ip", "route", "show", POOL).strip()

    for _ in range(2):
        world.start(net.HostNetwork((POOL,), uplink="up0"))
        assert "dev up0" in way()
        assert world.network.audit() == ()
        world.restart()
    world.start(net.HostNetwork((POOL,), uplink="up0"))
    world.at_host_run("ip", "route", "del", POOL)
    assert len(world.network.audit()) == 1
    assert "dev up0" in way()
    world.start(net.HostNetwork((POOL,)))
    assert way().startswith("unreachable")
    assert world.network.audit() == ()


def test_wrong_order_and_wrong_uplink(world: World) -> None:
    with pytest.raises(NetworkError, match="apply_host"):
        world.network.apply(desired())
    with pytest.raises(NetworkError, match="nowhere0"):
        world.network.apply_host(net.HostNetwork((POOL,), uplink="nowhere0"))
    assert world.network.apply_host(net.HostNetwork((POOL,), uplink="auto")).uplink is None
    with pytest.raises(ValueError, match="not a VPC"):
        world.network.namespace_path("vpc-1/../../etc")
