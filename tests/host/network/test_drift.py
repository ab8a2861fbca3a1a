"""What somebody else changes of a host's network is noticed by the kernel's notifications, and mended within seconds."""

import difflib
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from stead_agent import agent
from stead_agent.firewall import interface as firewall
from stead_agent.network import interface as net
from stead_agent.network import watch
from stead_agent.simulated.clock import SteppedClock
from stead_agent.simulated.host import SimulatedHost
from tests.host.network.world import POOL, Guest, World, new_world, sent
from tests.support.waiting import wait_for

MENDED_SECONDS = 10.0
WEB = firewall.Group("sg-00000000000000001", (sent(),))


class Mender:
    """Does with each report what the agent does, and counts."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.reports: list[net.Touched] = []
        self.parts = replace(SimulatedHost(SteppedClock()).subsystems, network=world.network, firewall=world.firewall)
        self.lock = threading.Lock()  # who holds it sees the damage before it is mended
        self.end = world.network.subscribe(self.mend)

    def mend(self, touched: net.Touched) -> None:
        with self.lock:
            self.reports.append(touched)
            agent.audit(self.parts, touched)

    def is_quiet(self, seconds: float) -> bool:
        """Tell whether nothing was reported for so long."""
        before = len(self.reports)
        time.sleep(seconds)  # that nothing comes has no other sign
        return len(self.reports) == before


@pytest.fixture
def world() -> Iterator[World]:
    with new_world() as made:
        yield made


@pytest.fixture
def mender(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mender]:
    monkeypatch.setattr(watch, "PAUSE_SECONDS", 0.5)
    made = Mender(world)
    yield made
    made.end()


@pytest.fixture
def guest(world: World, mender: Mender) -> Guest:
    """A guest with a public address; what its coming caused was looked at."""
    world.start(net.HostNetwork((POOL,)))
    vpc = world.vpc("10.1.0.0/16", "10.1.0.0/24", groups=(WEB,))
    guest = world.guest(vpc, "10.1.0.10", WEB.id, public="198.51.100.10")
    wait_for(lambda: mender.is_quiet(1.5), "the guest is there and all is quiet", 30)
    return guest


def test_damage_is_mended_without_being_asked(world: World, mender: Mender, guest: Guest) -> None:
    subnet = world.vpcs[guest.vpc_id][0].subnets[0]
    inside = ("nsenter", f"--net={world.namespaces.path(guest.vpc_id)}")
    gateway, bridge = net.subnet_link_name(subnet.id), net.bridge_name(subnet.id)

    whole = _state(world, guest.vpc_id)
    for damage in (
        ("ip", "link", "set", guest.tap, "down"),
        ("ip", "link", "set", guest.tap, "nomaster"),
        ("bridge", "link", "set", "dev", guest.tap, "isolated", "off"),
        ("ip", "link", "set", bridge, "down"),
        ("ip", "route", "delete", "198.51.100.10/32"),
        ("ip", "route", "delete", "unreachable", POOL),
        ("ip", "address", "flush", "dev", "stead0"),
        (*inside, "ip", "link", "set", gateway, "down"),
        (*inside, "ip", "address", "delete", "169.254.169.254/32", "dev", "lo"),
        (*inside, "ip", "neigh", "replace", "10.1.0.10", "lladdr", "02:00:00:00:00:98", "dev", gateway),
        (*inside, "ip", "rule", "delete", "iif", gateway),
        (*inside, "nft", "flush", "ruleset"),
    ):
        with mender.lock:
            world.at_host_run(*damage)
            assert _state(world, guest.vpc_id) != whole, damage
        wait_for(
            lambda: _state(world, guest.vpc_id) == whole,
            f"{damage} is mended",
            MENDED_SECONDS,
            explain=lambda: "\n".join(difflib.unified_diff(whole, _state(world, guest.vpc_id), n=0)),
        )


def _state(world: World, vpc_id: str) -> list[str]:
    """All that counts of the links and rules in both namespaces; what comes and goes by itself is left out."""
    commands = (
        ("ip", "-o", "-d", "link"),
        ("ip", "-o", "address"),
        ("ip", "route", "show", "table", "all"),
        ("ip", "rule"),
        ("ip", "neigh", "show", "nud", "permanent"),
        ("ip", "neigh", "show", "proxy"),
        ("bridge", "-d", "-o", "link"),
        ("nft", "-s", "list", "ruleset"),
    )
    shown = ""
    for command in commands:
        shown += world.at_host_run(*command) + world.inside_run(vpc_id, *command)
    lines = re.sub(r"\w+_timer\s+\S+|state \w+|,?LOWER_UP|,?NO-CARRIER|linkdown", "", shown).splitlines()
    return sorted(line.strip() for line in lines)


def test_rules_in_the_namespace_of_an_endpoints_interface_are_removed(
    world: World, mender: Mender, guest: Guest
) -> None:
    """It has none of ours; nobody else's may keep guests from the endpoint."""
    endpoint = world.guest(guest.vpc_id, "10.1.0.77", WEB.id, plugged=False)
    network, rules = world.vpcs[guest.vpc_id]
    world.apply(replace(network, endpoint_interfaces=frozenset({endpoint.interface_id})), rules)
    wait_for(lambda: mender.is_quiet(1.5), "the endpoint is there and all is quiet", 30)
    strange = "table ip strange { chain input { type filter hook input priority 0; policy drop; }; }"
    before = len(mender.reports)
    world.inside_run(endpoint.interface_id, "nft", strange)

    def found() -> str:
        return world.inside_run(endpoint.interface_id, "nft", "list", "ruleset")

    wait_for(lambda: not found().strip(), "the strange rules are removed", MENDED_SECONDS, explain=found)
    assert mender.reports[before].links == {guest.vpc_id}, "it is the network's to mend"


def test_rules_in_the_namespace_of_a_gateway_endpoint_are_removed(world: World, mender: Mender, guest: Guest) -> None:
    """It has none of ours either, and those that an agent finds when it begins are removed as well."""
    endpoint = net.GatewayEndpoint("vpce-00000000000000077", ("198.51.100.1",))
    network, rules = world.vpcs[guest.vpc_id]
    strange = "table ip strange { chain input { type filter hook input priority 0; policy drop; }; }"
    world.namespaces.create(endpoint.id)
    world.inside_run(endpoint.id, "nft", strange)

    def found() -> str:
        return world.inside_run(endpoint.id, "nft", "list", "ruleset")

    world.apply(replace(network, endpoints=(endpoint,)), rules)
    assert not found().strip()
    wait_for(lambda: mender.is_quiet(1.5), "the endpoint is there and all is quiet", 30)
    before = len(mender.reports)
    world.inside_run(endpoint.id, "nft", strange)
    wait_for(lambda: not found().strip(), "the strange rules are removed", MENDED_SECONDS, explain=found)
    assert mender.reports[before].links == {guest.vpc_id}, "it is the network's to mend"


def test_what_the_agent_does_itself_in_a_vpc_is_no_damage(world: World, mender: Mender, guest: Guest) -> None:
    """Else each small change of a large VPC would have all of it compared."""
    network, rules = world.vpcs[guest.vpc_id]
    before = len(mender.reports)
    remote = net.RemoteInterface("eni-00000000000000077", "06:00:00:00:00:77", ("10.1.0.77",), "192.0.2.1")
    table = replace(network.route_tables[0], routes=())
    for desired in (replace(network, remotes=(remote,)), replace(network, route_tables=(table,)), network):
        world.apply(desired, rules)
    assert mender.is_quiet(2.0)
    assert [report for report in mender.reports[before:] if report.links] == []


def test_sysctls_are_looked_at(world: World, mender: Mender, guest: Guest) -> None:
    """Nobody is notified of most."""
    del mender
    subnet = world.vpcs[guest.vpc_id][0].subnets[0]
    assert world.network.unsettled() == frozenset()
    world.inside_run(guest.vpc_id, "sysctl", "-w", f"net.ipv4.neigh.{net.subnet_link_name(subnet.id)}.proxy_delay=80")
    assert world.network.unsettled() == {guest.vpc_id}
    world.at_host_run("sysctl", "-w", "net.bridge.bridge-nf-call-iptables=1")
    assert world.network.unsettled() == {guest.vpc_id, ""}
    agent.audit(
        replace(SimulatedHost(SteppedClock()).subsystems, network=world.network, firewall=world.firewall),
        net.Touched(world.network.unsettled()),
    )
    assert world.network.unsettled() == frozenset()


def test_a_vpc_that_is_removed_is_watched_no_more(world: World, mender: Mender, guest: Guest) -> None:
    vpc_id = guest.vpc_id
    world.firewall.remove(vpc_id)
    world.network.remove(vpc_id)
    wait_for(lambda: mender.is_quiet(1.0), "all is quiet", 30)
    assert vpc_id not in world.network.present()
    assert world.network.unsettled() == frozenset()
