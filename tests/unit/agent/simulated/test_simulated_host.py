"""The simulated host keeps the promises of the interfaces that agents rely on."""

from dataclasses import replace
from pathlib import Path

import pytest

from stead_agent.disks.bases.interface import BaseSpec
from stead_agent.disks.volumes.interface import BaseAbsentError, DiskFullError, VolumeSpec
from stead_agent.endpoints.interface import Endpoint
from stead_agent.machines.interface import MachineAbsentError, MachineError, MachineSpec, OffReason, Power
from stead_agent.network.interface import GatewayEndpoint, HostNetwork, VpcNetwork
from stead_agent.simulated.clock import SteppedClock
from stead_agent.simulated.host import SimulatedHost
from stead_agent.simulated.machines import Durations

SPEC = MachineSpec("i-1", 1, 1 << 30, (), ())


def _host(durations: Durations | None = None, **words: object) -> tuple[SimulatedHost, SteppedClock]:
    clock = SteppedClock()
    return SimulatedHost(clock, durations=durations, **words), clock  # type: ignore[arg-type]  # any of its words


def test_each_start_happens_once() -> None:
    host, _ = _host()
    host.machines.start(SPEC, 1)
    host.power_off_guest("i-1")
    assert host.machines.start(SPEC, 1).power is Power.OFF
    assert host.machines.start(SPEC, 2).power is Power.RUNNING
    with pytest.raises(MachineError, match="still runs"):
        host.machines.start(SPEC, 3)
    assert host.machines.start(SPEC, 1).start_count == 2


def test_a_guest_takes_its_time_or_hangs() -> None:
    host, clock = _host(Durations(shut_down=10, patience=90, hastened=30))
    reported: list[str] = []
    host.machines.subscribe(reported.append)
    host.machines.start(SPEC, 1)
    assert host.machines.stop("i-1").power is Power.STOPPING
    clock.step(9)
    assert host.running() == {"i-1"}
    reported.clear()
    clock.step(1)
    assert reported == ["i-1"]
    assert host.machines.status("i-1") is not None
    host.machines.start(SPEC, 2)
    host.hang_guest("i-1")
    host.machines.stop("i-1")
    clock.step(89)
    assert host.running() == {"i-1"}
    clock.step(1)
    assert host.running() == set()
    host.machines.start(SPEC, 3)
    host.hang_guest("i-1")
    host.machines.stop("i-1")
    clock.step(5)
    assert host.machines.stop("i-1", hasten=True).power is Power.STOPPING
    clock.step(29)
    assert host.running() == {"i-1"}
    clock.step(1)
    assert host.running() == set()


def test_a_guest_that_boots_hears_the_power_button_later() -> None:
    host, clock = _host(Durations(boot=30, shut_down=5))
    host.machines.start(SPEC, 1)
    clock.step(20)
    host.machines.stop("i-1")
    clock.step(14)
    assert host.running() == {"i-1"}
    clock.step(1)
    assert host.running() == set()


def test_what_was_planned_for_an_earlier_start_does_not_happen_to_a_later_one() -> None:
    host, clock = _host(Durations(shut_down=10))
    host.machines.start(SPEC, 1)
    host.machines.stop("i-1")
    host.machines.stop("i-1", force=True)
    host.machines.start(SPEC, 2)
    clock.step(100)
    assert host.running() == {"i-1"}


def test_a_reboot_of_the_host_takes_guests_and_kernel_but_no_disks(tmp_path: Path) -> None:
    host, _ = _host(world_file=tmp_path / "world")
    host.volumes.ensure(VolumeSpec("vol-1", 1))
    host.machines.start(SPEC, 1)
    boot = host.facts().boot_id
    host.reboot()
    assert host.facts().boot_id != boot
    status = host.machines.status("i-1")
    assert status is not None
    assert status.off_reason is OffReason.HOST
    assert host.machines.start(SPEC, 1).power is Power.RUNNING
    again, _ = _host(world_file=tmp_path / "world")
    assert again.running() == {"i-1"}
    assert again.volumes.present() == {"vol-1"}


def test_faults_come_before_or_after_the_work() -> None:
    host, _ = _host()
    host.fail_next("machines.start", MachineError("before"))
    host.fail_next("machines.start", MachineError("after"), after=True)
    with pytest.raises(MachineError, match="before"):
        host.machines.start(SPEC, 1)
    assert host.running() == set()
    with pytest.raises(MachineError, match="after"):
        host.machines.start(SPEC, 1)
    assert host.running() == {"i-1"}


def test_disks() -> None:
    host, _ = _host(disk=100)
    with pytest.raises(BaseAbsentError):
        host.volumes.ensure(VolumeSpec("vol-1", 10, "snap-1"))
    host.subsystems.bases.ensure(BaseSpec("snap-1", 10, 5))
    host.volumes.ensure(VolumeSpec("vol-1", 10, "snap-1"))
    host.volumes.ensure(VolumeSpec("vol-1", 5, "snap-1"))
    assert host.volumes.size("vol-1") == 10
    assert host.volumes.capacity().free == 90
    with pytest.raises(DiskFullError):
        host.volumes.ensure(VolumeSpec("vol-2", 91))
    host.volumes.remove("vol-1")
    host.subsystems.bases.remove("snap-1")
    assert host.remains() == {}


def test_broken_promises_are_noted() -> None:
    host, _ = _host()
    host.subsystems.network.remove("vpc-1")
    assert host.violations == []
    host.machines.start(SPEC, 1)
    with pytest.raises(MachineAbsentError):
        host.machines.stop("i-2")


def test_endpoints_have_a_way_in_the_network() -> None:
    """A gateway endpoint has one of its own id, an interface endpoint one of its interface's."""
    host, _ = _host()
    parts = host.subsystems
    parts.network.apply_host(HostNetwork(public_pools=()))
    way = parts.network.namespace_path
    gateway, plugged, nowhere = (
        Endpoint(each, way(place), (443,), 8773)
        for each, place in (("vpce-1", "vpce-1"), ("vpce-2", "eni-2"), ("vpce-3", "vpce-3"))
    )
    network = VpcNetwork("vpc-1", 1, ("10.0.0.0/16",), endpoints=(GatewayEndpoint("vpce-1", ("198.18.0.1",)),))
    parts.network.apply(replace(network, endpoint_interfaces=frozenset({"eni-2"})))
    parts.endpoints.apply("vpc-1", (gateway, plugged))
    assert host.violations == []
    parts.endpoints.apply("vpc-1", (gateway, plugged, nowhere))
    assert host.violations == ["endpoints of vpc-1 applied before the network"]


def test_a_screenshot_is_a_png() -> None:
    host, _ = _host()
    host.machines.start(SPEC, 1)
    assert host.machines.screenshot("i-1").startswith(b"\x89PNG\r\n\x1a\n")
