"""An instance gets and sends what its type promises, by all its interfaces together, whoever carries its packets."""

import contextlib
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from stead_agent.firewall import interface as fw
from stead_agent.network import bandwidth, traffic_control
from stead_agent.network import interface as net
from stead_agent.network.kernel import KernelNetwork
from tests.host.network.world import ANYWHERE, POOL, Guest, World, got, new_world, sent
from tests.support.waiting import wait_for

OPEN = fw.Group("sg-00000000000000001", (sent(), got(1, "-1", ANYWHERE)))
LIMITED, OTHER = "i-00000000000000001", "i-00000000000000002"
BASELINE = 8  # megabits per second: little enough for any machine
VPC = "vpc-00000000000000001"  # the first one of a world
LATE = 0.2  # seconds by which a busy machine may be late to send; what that long carries goes at once
PACKET = bytes(1500 - 28)  # with the headers of IP and UDP the largest
_TRIES = 12
_BUFFER_BY_FORCE, _TIMES = 33, 64  # SO_RCVBUFFORCE, SO_TIMESTAMPNS_NEW


@dataclass
class Pair:
    """An instance with two interfaces, and a guest without limits."""

    world: World
    one: Guest
    two: Guest
    free: Guest

    def limit(self, **limits: net.Bandwidth | None) -> None:
        """Give `one`, `two` or `free` a bandwidth, and do what is done when a machine has started."""
        guests = {getattr(self, name).interface_id: value for name, value in limits.items()}
        network, rules = self.world.vpcs[self.one.vpc_id]
        interfaces = tuple(replace(it, bandwidth=guests.get(it.id, it.bandwidth)) for it in network.interfaces)
        self.world.apply(replace(network, interfaces=interfaces), rules)

    def shown(self) -> str:
        """All that tc(8) knows of the host's namespace."""
        return self.world.at_host_run("tc", "qdisc") + "".join(
            self.world.at_host_run("tc", "filter", "show", "dev", guest.tap, hook)
            for guest in (self.one, self.two, self.free)
            for hook in ("ingress", "egress")
        )


@pytest.fixture(autouse=True)
def _all_is_queued(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is dropped here, so that what a test sends at once arrives at the rate."""
    monkeypatch.setattr(traffic_control, "LEAST_QUEUE", 1 << 24)
    monkeypatch.setattr(traffic_control, "LATE_MS", round(LATE * 1000))
    monkeypatch.setattr(bandwidth, "LATE_MS", round(LATE * 1000))


@pytest.fixture
def pair() -> Iterator[Pair]:
    with new_world() as world:
        world.start(net.HostNetwork((POOL,)))
        vpc = world.vpc("10.1.0.0/16", "10.1.0.0/24", groups=(OPEN,))
        yield Pair(world, *(world.guest(vpc, f"10.1.0.{10 + number}", OPEN.id) for number in range(3)))


def limits(
    instance_id: str = LIMITED, baseline: int = BASELINE, burst: int = BASELINE, vpc_id: str = VPC
) -> net.Bandwidth:
    return net.Bandwidth(instance_id, vpc_id, baseline, burst)


def carried(*ways: tuple[Guest, Guest], megabits: float = 1.5 * BASELINE) -> float:
    """Send so much at once, which queues, and return the seconds from the first arrival to the last one.

    It is the kernel's clock that counts: how soon this process runs makes no difference.
    """
    time.sleep(LATE)  # what goes at once is there again; it has no sign
    each = round(megabits * 1e6 / 8 / 1500 / len(ways))
    arrivals: list[float] = []
    with contextlib.ExitStack() as stack:
        receivers = []
        for number, (source, target) in enumerate(ways):
            receiver = stack.enter_context(target.udp(6000 + number))
            receiver.setsockopt(socket.SOL_SOCKET, _BUFFER_BY_FORCE, 1 << 26)
            receiver.setsockopt(socket.SOL_SOCKET, _TIMES, 1)
            receivers.append(receiver)
            sender = stack.enter_context(source.udp())
            sender.settimeout(60)
            sender.connect((target.address, 6000 + number))
            for _ in range(each):
                sender.send(PACKET)

        def is_all_there() -> bool:
            arrivals.extend(_arrived(receivers))
            return len(arrivals) == each * len(ways)

        wait_for(is_all_there, "all of it arrives", 60, explain=lambda: f"{len(arrivals)} arrived", poll=0.05)
    return max(arrivals) - min(arrivals)


def _arrived(receivers: list[socket.socket]) -> Iterator[float]:
    """Yield when each packet arrived that was not asked for yet."""
    for receiver in receivers:
        with contextlib.suppress(BlockingIOError):  # that was all
            while True:
                _, ((_, _, moment),), _, _ = receiver.recvmsg(2048, 64)
                seconds, nanoseconds = struct.unpack("qq", moment)
                yield seconds + nanoseconds / 1e9


def is_held(*ways: tuple[Guest, Guest], megabits: float = 1.5 * BASELINE, wanted: float = 1.5) -> bool:
    """Tell whether it takes what was promised, within 3 %, in a moment when the machine has time for it."""
    tries = (carried(*ways, megabits=megabits) + LATE for _ in range(_TRIES))
    return any(0.97 * wanted <= seconds <= 1.03 * wanted for seconds in tries)


def is_free(*ways: tuple[Guest, Guest]) -> bool:
    """Tell whether it takes much less than with limits, in a moment when the machine has time for it."""
    return any(carried(*ways) < 0.8 for _ in range(_TRIES))


def test_each_direction_is_held_to_the_types_figure(pair: Pair) -> None:
    assert is_free((pair.one, pair.free)), "without limits it takes less"
    pair.limit(one=limits())
    assert is_held((pair.one, pair.free))
    assert is_held((pair.free, pair.one))
    assert is_free((pair.two, pair.free)), "others are not limited"


def test_all_interfaces_of_an_instance_share_it(pair: Pair) -> None:
    pair.limit(one=limits(), two=limits())
    assert is_held((pair.one, pair.free), (pair.two, pair.free))
    assert is_held((pair.free, pair.one), (pair.free, pair.two))


def test_an_interface_in_another_vpc_shares_it_too(pair: Pair) -> None:
    world = pair.world
    pair.limit(one=limits())
    vpc = world.vpc("10.2.0.0/16", "10.2.0.0/24", groups=(OPEN,))
    there, free = world.guest(vpc, "10.2.0.10", OPEN.id), world.guest(vpc, "10.2.0.11", OPEN.id)
    replace(pair, one=there, two=there, free=free).limit(one=limits())
    assert is_held((there, free))
    assert is_held((pair.one, pair.free), (there, free))
    world.at_host_run("ip", "link", "delete", bandwidth.shaper_names(limits())[0])
    assert world.network.audit() != ()
    assert world.network.audit() != (), "the other VPC's tap, once the shaper is there again"
    assert world.network.audit() == ()
    assert is_held((free, there), megabits=BASELINE, wanted=1.0)
    world.network.remove(vpc)
    assert is_held((pair.one, pair.free), megabits=BASELINE, wanted=1.0)


def test_what_was_saved_is_spent_at_the_burst_and_then_the_baseline_is_left(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bandwidth, "SAVED_MS", 2000)
    pair.limit(one=limits(burst=4 * BASELINE))

    def takes(way: tuple[Guest, Guest], times: int, least: float, most: float) -> bool:
        """Tell whether it takes what it should in a moment when the machine has time; it never takes less."""
        for _ in range(_TRIES):
            time.sleep(2.0)  # all that can be is saved; that has no sign
            seconds = carried(way, megabits=times * BASELINE) + LATE
            assert seconds >= least
            if seconds < most:
                return True
        return False

    assert takes((pair.one, pair.free), 2, 0.4, 1.5), "a part of it, at the burst: 2 s at the baseline"
    assert takes((pair.free, pair.one), 4, 2.0, 3.7), "all, the rest at the baseline: 4 s without anything saved"


def test_another_type_changes_it_and_makes_no_link_anew(pair: Pair) -> None:
    pair.limit(one=limits())
    before = pair.world.at_host_run("ip", "-o", "link")
    pair.limit(one=limits(baseline=2 * BASELINE, burst=2 * BASELINE))
    assert pair.world.at_host_run("ip", "-o", "link") == before
    assert is_held((pair.one, pair.free), megabits=3 * BASELINE)


def test_without_limits_nothing_is_left_and_the_guest_goes_on(pair: Pair) -> None:
    before = pair.shown()
    pair.limit(one=limits(), two=limits(), free=limits(OTHER))
    assert pair.shown() != before
    network, rules = pair.world.vpcs[pair.one.vpc_id]
    pair.world.apply(
        replace(network, interfaces=tuple(replace(it, bandwidth=None) for it in network.interfaces)), rules
    )
    assert pair.shown() == before
    assert pair.one.reaches(pair.free, 5000)


def test_a_tap_that_comes_later_is_limited_when_its_machine_has_started(pair: Pair) -> None:
    pair.limit(one=limits())
    network, _ = pair.world.vpcs[pair.one.vpc_id]
    whole = pair.shown()
    pair.world.at_host_run("ip", "link", "delete", pair.one.tap)
    pair.world.network.settle(network.vpc_id, {pair.one.interface_id})  # there is none now
    pair.world.wire(pair.one, network.subnets[0])
    pair.world.network.settle(network.vpc_id, {pair.two.interface_id})
    assert _numberless(pair.shown()) != _numberless(whole)
    pair.world.network.settle(network.vpc_id, {pair.one.interface_id})
    assert _numberless(pair.shown()) == _numberless(whole)


def test_a_tap_that_is_being_made_is_no_damage(pair: Pair) -> None:
    """Its machine is just starting: libvirt goes on with it, and the limits come when that is done."""
    pair.limit(one=limits())
    network, _ = pair.world.vpcs[pair.one.vpc_id]
    pair.world.at_host_run("ip", "link", "delete", pair.one.tap)
    pair.world.wire(pair.one, network.subnets[0])
    for unfinished in ("down", "up"):
        pair.world.at_host_run("ip", "link", "set", pair.one.tap, unfinished)
        before = pair.shown()
        assert pair.world.network.audit() == ()
        assert pair.shown() == before
    pair.world.network.settle(network.vpc_id, {pair.one.interface_id})
    assert pair.shown() != before
    assert pair.world.network.audit() == ()
    pair.world.at_host_run(*f"tc qdisc delete dev {pair.one.tap} clsact".split())
    assert pair.world.network.audit() != ()
    assert pair.world.network.audit() == ()


def test_an_agent_that_begins_finds_it_as_it_is(pair: Pair) -> None:
    pair.limit(one=limits(), free=limits(OTHER, 10, 100_000))
    network, _ = pair.world.vpcs[pair.one.vpc_id]
    with _events(pair.world) as events:
        later = KernelNetwork(pair.world.namespaces)
        later.apply_host(net.HostNetwork((POOL,)))
        later.apply(network)
        later.settle(network.vpc_id, {it.id for it in network.interfaces})
        assert later.audit() == ()
    assert events == [], "nothing was changed"


def test_damage_is_noticed_and_repaired(pair: Pair) -> None:
    pair.limit(one=limits())
    whole = _numberless(pair.shown())
    into, out = bandwidth.shaper_names(limits())
    reports: list[net.Touched] = []
    end = pair.world.network.subscribe(reports.append)
    try:
        # One of each kind is waited for; which messages are about what is in tests/unit/agent/network/test_notices.py.
        for damage, is_awaited in {
            f"tc qdisc delete dev {pair.one.tap} clsact": True,
            f"tc class change dev {out} parent 1: classid 1:1 htb rate 1gbit ceil 2gbit": True,
            f"ip link set {into} down": True,
            f"tc filter delete dev {pair.one.tap} egress": False,
            f"tc filter delete dev {pair.one.tap} ingress": False,
            f"tc qdisc delete dev {out} root": False,
            f"ip link delete {out}": False,
            f"ip link delete {into}": False,
        }.items():
            reports.clear()
            pair.world.at_host_run(*damage.split())
            if is_awaited:
                wait_for(lambda: pair.one.vpc_id in {each for it in reports for each in it.links}, damage, 60)
            assert pair.world.network.audit({pair.one.vpc_id}) != (), damage
            assert _numberless(pair.shown()) == whole, damage
    finally:
        end()
    assert pair.world.network.audit() == ()
    assert is_held((pair.one, pair.free), megabits=BASELINE, wanted=1.0)


def test_a_queue_of_another_kind_is_replaced(pair: Pair) -> None:
    pair.limit(one=limits())
    whole = _numberless(pair.shown())
    pair.world.at_host_run(*f"tc qdisc delete dev {bandwidth.shaper_names(limits())[1]} parent 1:1".split())
    assert pair.world.network.audit() != ()
    assert _numberless(pair.shown()) == whole


def half_made(pair: Pair) -> str:
    """Make a shaper as far as an agent came that was killed, or that the kernel refused the next step."""
    into, _ = bandwidth.shaper_names(limits())
    pair.world.at_host_run("ip", "link", "add", into, "type", "ifb")
    pair.world.at_host_run(*f"tc qdisc add dev {into} root handle 1: htb default 1".split())
    return into


def test_a_half_made_shaper_is_finished(pair: Pair) -> None:
    half_made(pair)
    with pytest.raises(net.NetworkError):
        pair.limit(one=limits())
    pair.limit(one=limits())
    assert is_held((pair.free, pair.one), megabits=BASELINE, wanted=1.0)


@pytest.mark.parametrize("is_wanted", [True, False])
def test_what_a_killed_agent_left_of_a_shaper_is_removed_by_the_next_one(pair: Pair, is_wanted: bool) -> None:
    name = half_made(pair)
    pair.world.network = KernelNetwork(pair.world.namespaces)
    pair.world.start(net.HostNetwork((POOL,)))
    assert name not in pair.world.at_host_run("ip", "-o", "link")
    pair.limit(one=limits() if is_wanted else None)
    assert pair.world.network.audit() == ()
    assert (name in pair.world.at_host_run("ip", "-o", "link")) == is_wanted


def test_the_largest_figures_arrive_in_the_kernel(pair: Pair) -> None:
    pair.limit(one=limits(baseline=50_000, burst=100_000))
    into, _ = bandwidth.shaper_names(limits())
    index = int(pair.world.at_host_run("ip", "-o", "link", "show", into).partition(":")[0])
    rate, ceil, saved = pair.world.machine.inside("vpc-host", lambda: traffic_control.limits(index))
    assert (rate, ceil) == (50_000_000_000 * 1514 // 12_000, 100_000_000_000 * 1514 // 12_000)
    assert saved == bandwidth.SAVED_MS


def _numberless(shown: str) -> str:
    """What tc(8) shows without what is another with each link that is made."""
    return "\n".join(sorted(line for line in shown.splitlines() if "index" not in line and "noqueue" not in line))


@contextlib.contextmanager
def _events(world: World) -> Iterator[list[str]]:
    """Collect what tc(8) reports as changed meanwhile."""
    found: list[str] = []
    path = world.machine.path("vpc-host")
    command = ["nsenter", f"--net={path}", "tc", "monitor"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as monitor:
        try:
            yield found
        finally:
            monitor.terminate()
            found += monitor.communicate()[0].splitlines()
