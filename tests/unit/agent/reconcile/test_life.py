"""Random lives of a host: changes, kills at any step, faults, reboots; whatever comes, it ends as wanted."""

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stead_agent.dhcp.interface import DhcpError
from stead_agent.disks.volumes.interface import DiskFullError
from stead_agent.firewall.interface import FirewallError
from stead_agent.machines.interface import MachineError, MachinesUnavailableError
from stead_agent.metadata.interface import MetadataError
from stead_agent.network.interface import NetworkError
from stead_agent.simulated.machines import Durations
from stead_agent.wanted import SHARED_KINDS, Key
from stead_proto.v1 import desired_pb2 as pb
from stead_proto.v1 import host_pb2
from stead_proto.v1.host_pb2 import DesiredState
from tests.support import desired_states as make
from tests.support.examples import examples
from tests.support.simulated_agent import Bench, Killed

VPCS = ("vpc-1", "vpc-2")
FAULTS: dict[str, Exception] = {
    "network.apply": NetworkError("netlink said no"),
    "network.remove": NetworkError("device is busy"),
    "network.settle": NetworkError("no shaper"),
    "network.apply_host": NetworkError("no route"),
    "firewall.apply": FirewallError("nft said no"),
    "firewall.remove": FirewallError("nft said no"),
    "dhcp.apply": DhcpError("dnsmasq ended"),
    "metadata.serve": MetadataError("cannot listen"),
    "bases.ensure": DiskFullError("no room"),
    "volumes.ensure": DiskFullError("no room"),
    "volumes.remove": DiskFullError("no room for the trash"),
    "machines.start": MachineError("QEMU said no"),
    "machines.update": MachineError("device is busy"),
    "machines.stop": MachinesUnavailableError("libvirt is away"),
    "machines.remove": MachinesUnavailableError("libvirt is away"),
    "machines.reboot": MachineError("no"),
}
_numbers = st.integers(0, 40)
_picks = st.integers(0, 2)  # one of the machines that are there
MOST_MACHINES = 3


class HostLife(RuleBasedStateMachine):
    """One host, its agent, and a controller that changes its mind."""

    @initialize(slow=st.booleans())
    def begin(self, slow: bool) -> None:
        self.bench = Bench(durations=Durations(shut_down=20, reboot=10) if slow else None)
        self.sender = make.Sender()
        self.reboots = 0
        self.launched = 0
        self.ended_by_itself: set[tuple[str, int]] = set()
        self._send(self.sender.change(make.host_network(), full=True))

    # -- the controller

    def _send(self, message: DesiredState) -> None:
        self._alive(lambda: self.bench.tell(message))

    def _alive(self, act: Any) -> None:
        """Do something with the agent; when it dies of that, start a new one and do what a new session does."""
        try:
            act()
        except Killed:
            self.bench.restart()
            self._new_session()

    def _new_session(self) -> None:
        """Send what the agent missed, by its own revision, as the controller does after a Hello."""
        wanted = self.bench.reconciler.wanted
        if wanted.revision == 0:
            self.bench.tell(self.sender.full())
            return
        for message in self.sender.sent:
            if message.revision > wanted.revision:
                self.bench.tell(message)

    def _names(self) -> list[str]:
        return [key.id.removeprefix("i-") for key in self.sender.resources if key.kind == pb.KIND_MACHINE]

    def _name(self, pick: int) -> str:
        names = self._names()
        return names[pick % len(names)] if names else ""

    def _wanted(self, name: str) -> pb.Machine | None:
        found = self.sender.resources.get(Key(pb.KIND_MACHINE, f"i-{name}"))
        return found.machine if found is not None else None

    def _change_machine(self, name: str, **words: Any) -> None:
        now = self.sender.resources[Key(pb.KIND_MACHINE, f"i-{name}")]
        new = pb.Resource.FromString(now.SerializeToString())
        for word, value in words.items():
            setattr(new.machine, word, value)
        self._send(self.sender.change(new))

    @rule(vpc_id=st.sampled_from(VPCS))
    def launch(self, vpc_id: str) -> None:
        if len(self._names()) < MOST_MACHINES:
            self.launched += 1  # an id is never used again
            self._send(self.sender.change(*make.launch(str(self.launched), vpc_id=vpc_id)))

    @rule(pick=_picks, force=st.booleans())
    def stop(self, pick: int, force: bool) -> None:
        name = self._name(pick)
        if self._wanted(name) is not None:
            self._change_machine(name, power=pb.POWER_STOPPED, force_stop=force)

    @rule(pick=_picks)
    def start(self, pick: int) -> None:
        name = self._name(pick)
        now = self._wanted(name)
        if now is not None and (
            now.power == pb.POWER_STOPPED or (f"i-{name}", now.start_count) in self.ended_by_itself
        ):
            self._change_machine(name, power=pb.POWER_RUNNING, start_count=now.start_count + 1, force_stop=False)

    @rule(pick=_picks)
    def reboot_guest(self, pick: int) -> None:
        name = self._name(pick)
        now = self._wanted(name)
        if now is not None:
            self._change_machine(name, reboot_count=now.reboot_count + 1)

    @rule(pick=_picks, force=st.booleans(), at_once=st.booleans())
    def terminate(self, pick: int, force: bool, at_once: bool) -> None:
        """Remove a machine with its parts in one change or in two, and the VPC with the last of it."""
        name = self._name(pick)
        if self._wanted(name) is None:
            return
        machine = self.sender.resources[Key(pb.KIND_MACHINE, f"i-{name}")].machine
        parts = [Key(pb.KIND_VOLUME, each.volume_id) for each in machine.disks]
        parts += [Key(pb.KIND_INTERFACE, each.interface_id) for each in machine.interfaces]
        gone = (Key(pb.KIND_MACHINE, f"i-{name}"),)
        if at_once:
            self._send(self.sender.change(gone=(*gone, *parts), force=force))
        else:
            self._send(self.sender.change(gone=gone, force=force))
            self._send(self.sender.change(gone=tuple(parts)))
        self._remove_unused()

    def _remove_unused(self) -> None:
        resources = self.sender.resources
        used = {each.interface.vpc_id for key, each in resources.items() if key.kind == pb.KIND_INTERFACE}
        gone = []
        for key, each in resources.items():
            owner = each.subnet.vpc_id or each.security_group.vpc_id or (each.id if key.kind == pb.KIND_VPC else "")
            if owner and owner not in used:
                gone.append(key)
        if gone:
            self._send(self.sender.change(gone=tuple(gone)))
        volumes = [each for key, each in resources.items() if key.kind == pb.KIND_VOLUME]
        if not volumes and (image := Key(pb.KIND_BASE, "snap-1")) in resources:
            self._send(self.sender.change(gone=(image,)))

    @rule(pick=_picks, iops=st.sampled_from([0, 100]))
    def plug(self, pick: int, iops: int) -> None:
        name = self._name(pick)
        key = Key(pb.KIND_MACHINE, f"i-{name}")
        if key in self.sender.resources and len(self.sender.resources[key].machine.disks) == 1:
            new = pb.Resource.FromString(self.sender.resources[key].SerializeToString())
            new.machine.disks.append(pb.MachineDisk(volume_id=f"vol-{name}9", device_name="/dev/sdf"))
            self._send(self.sender.change(make.volume(f"vol-{name}9", base_id="", iops=iops), new))

    @rule(pick=_picks)
    def unplug(self, pick: int) -> None:
        name = self._name(pick)
        key = Key(pb.KIND_MACHINE, f"i-{name}")
        if key in self.sender.resources and len(self.sender.resources[key].machine.disks) == 2:
            new = pb.Resource.FromString(self.sender.resources[key].SerializeToString())
            del new.machine.disks[1]
            self._send(self.sender.change(new, gone=(Key(pb.KIND_VOLUME, f"vol-{name}9"),)))

    @rule(pick=_picks, size=st.integers(2, 5))
    def grow(self, pick: int, size: int) -> None:
        name = self._name(pick)
        key = Key(pb.KIND_VOLUME, f"vol-{name}")
        if key in self.sender.resources and self.sender.resources[key].volume.size < size * make.GIB:
            self._send(self.sender.change(make.volume(f"vol-{name}", size=size * make.GIB)))

    @rule(vpc_id=st.sampled_from(VPCS), port=st.integers(1, 3))
    def change_group(self, vpc_id: str, port: int) -> None:
        key = Key(pb.KIND_SECURITY_GROUP, f"sg-{vpc_id[-1]}")
        if key in self.sender.resources:
            self._send(self.sender.change(make.group(key.id, vpc_id, port=port)))

    @rule(number=_numbers)
    def repeat_an_old_message(self, number: int) -> None:
        if self.sender.sent:
            self._send(self.sender.sent[number % len(self.sender.sent)])

    @rule()
    def send_everything(self) -> None:
        self._send(self.sender.full())

    # -- the host

    @rule(order=st.lists(_numbers, max_size=20))
    def work(self, order: list[int]) -> None:
        self._alive(lambda: self.bench.work(iter(order)))

    @rule(seconds=st.sampled_from([1, 6, 15, 40, 100]))
    def pass_time(self, seconds: int) -> None:
        self._alive(lambda: self.bench.settle(seconds=seconds))

    @rule()
    def restart_agent(self) -> None:
        self.bench.restart()

    @rule(call=_numbers)
    def kill_agent_later(self, call: int) -> None:
        self.bench.die_at(call)

    @rule()
    def reboot_host(self) -> None:
        self.reboots += 1
        self.bench.reboot()

    @rule(pick=_picks, crash=st.booleans())
    def end_guest(self, pick: int, crash: bool) -> None:
        name = self._name(pick)
        if f"i-{name}" in self.bench.host.running():
            self.ended_by_itself.add((f"i-{name}", self.bench.host.world.objects.guests[f"i-{name}"].start_count))
            end = self.bench.host.crash_guest if crash else self.bench.host.power_off_guest
            self._alive(lambda: end(f"i-{name}"))

    @rule(pick=_picks)
    def hang_guest(self, pick: int) -> None:
        name = self._name(pick)
        if f"i-{name}" in self.bench.host.running():
            self.bench.host.hang_guest(f"i-{name}")

    @rule(away=st.booleans())
    def libvirt(self, away: bool) -> None:
        self.bench.host.machines.set_away(away=away)

    @rule(name=st.sampled_from(sorted(FAULTS)), times=st.integers(1, 3), after=st.booleans())
    def fault(self, name: str, times: int, after: bool) -> None:
        self.bench.host.fail_next(name, FAULTS[name], times=times, after=after)

    # -- what always holds

    @invariant()
    def promises_are_kept(self) -> None:
        if hasattr(self, "bench"):
            assert self.bench.host.violations == []
            for start, count in self.bench.host.world.objects.starts.items():
                assert count <= 1 + self.reboots, f"{start} happened {count} times"

    @precondition(lambda self: hasattr(self, "bench"))
    @rule()
    def it_ends_as_wanted(self) -> None:
        self.bench.die_at(10**9)
        if self.bench.host.machines.is_away:
            self.bench.host.machines.set_away(away=False)
        self._new_session()
        self.bench.settle(seconds=2000)
        self._check_end()

    def teardown(self) -> None:
        if hasattr(self, "bench"):
            self.it_ends_as_wanted()
            self._send(self.sender.change(gone=tuple(self.sender.resources)))
            self.bench.settle(seconds=2000)
            assert self.bench.host.remains() == {}
            assert self.bench.host.violations == []

    def _check_end(self) -> None:
        host, resources = self.bench.host, self.sender.resources
        ids = {kind: {key.id for key in resources if key.kind == kind} for kind in pb.Kind.values()}
        assert host.volumes.present() == ids[pb.KIND_VOLUME]
        assert set(host.world.objects.bases) == ids[pb.KIND_BASE]
        for vpcs in (host.world.objects.networks, host.world.objects.firewalls, host.world.objects.dhcps):
            assert set(vpcs) == ids[pb.KIND_VPC]
        shown = {each.id for vpc in host.world.objects.networks.values() for each in vpc.interfaces}
        assert shown == ids[pb.KIND_INTERFACE]
        assert set(host.world.objects.guests) <= ids[pb.KIND_MACHINE]
        reported = self.bench.report()
        for key, resource in resources.items():
            if key.kind in SHARED_KINDS:  # of these only failures are reported, and the end of what had failed
                last = reported.get(key)
                went = last is not None and last.condition == host_pb2.CONDITION_ABSENT
                assert last is None or last.condition == host_pb2.CONDITION_READY or went, (key, last)
                assert not went or (last is not None and last.revision < resource.revision), (key, last)
                continue
            assert reported[key].condition == host_pb2.CONDITION_READY, (key, reported[key])
            assert reported[key].revision == resource.revision, (key, reported[key])
            if key.kind == pb.KIND_MACHINE:
                self._check_machine(resource, reported[key].machine)
        for key in self.sender.removals:
            if key.kind in SHARED_KINDS:
                continue
            assert reported[key].condition == host_pb2.CONDITION_ABSENT, (key, reported[key])
        assert self.bench.reached == self.sender.revision

    def _check_machine(self, resource: pb.Resource, reported: host_pb2.MachineStatus) -> None:
        wanted = resource.machine
        guest = self.bench.host.world.objects.guests.get(resource.id)
        if wanted.power == pb.POWER_STOPPED:
            assert guest is None or guest.power.value == "off"
            assert reported.power == host_pb2.MACHINE_POWER_OFF
            return
        assert guest is not None
        assert guest.start_count == reported.start_count == wanted.start_count
        assert guest.reboot_count == reported.reboot_count == wanted.reboot_count
        if (resource.id, wanted.start_count) in self.ended_by_itself:
            assert guest.power.value == "off"
            assert reported.off_reason in {host_pb2.OFF_REASON_GUEST, host_pb2.OFF_REASON_CRASHED}
            return
        assert guest.power.value == "running", guest
        assert reported.power == host_pb2.MACHINE_POWER_RUNNING
        assert [disk.id for disk in guest.spec.disks] == [each.volume_id for each in wanted.disks]
        for key in [Key(pb.KIND_VOLUME, each.volume_id) for each in wanted.disks]:
            assert self.bench.host.volumes.size(key.id) == self.sender.resources[key].volume.size
        vpc_id = self.sender.resources[Key(pb.KIND_INTERFACE, wanted.interfaces[0].interface_id)].interface.vpc_id
        assert vpc_id in self.bench.host.metadata.served
        assert resource.id in self.bench.host.metadata.guests[vpc_id]


TestHostLife = HostLife.TestCase
TestHostLife.settings = settings(
    max_examples=examples(45), stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
