"""Bring up and tear down a rig: its places, the controller in the underlay's place, an agent in each host's place."""

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from stead_cli import cloud, enrolment, image_build, processes, rig_links, rig_places
from stead_cli.errors import CliError
from stead_cli.operator import Operator
from stead_cli.processes import Began, Program
from stead_cli.rig_places import RigPlace
from stead_cli.rig_plan import INTERNET, UNDERLAY, RigPlan
from stead_cli.settings import Settings
from stead_cli.steps import Steps
from stead_cli.up import enter_image
from stead_cli.waiting import wait_for
from stead_proto import tls
from stead_proto.v1 import operator_pb2 as pb

_AT_ONCE: Final = 8
_CONTROL_GROUPS: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class RigHost:
    """A host of a rig: its place, and its agent as a program in that place."""

    plan: RigPlan
    number: int

    @property
    def name(self) -> str:
        """The name of the host and of its place."""
        return f"host-{self.number}"

    @property
    def place(self) -> RigPlace:
        """The place (namespaces) of the host."""
        return rig_places.place(self.name, self.plan.folder, self.plan.host_dir(self.number) / "libvirt")

    @property
    def settings(self) -> Settings:
        """The settings of the host, as of a single-machine cloud."""
        return self.plan.host_settings(self.number)

    @property
    def agent(self) -> Program:
        """The host's agent; not a systemd unit, which would start it outside its place."""
        program = cloud.agent_program(
            self.settings,
            f"--underlay-address={self.plan.host_underlay_address(self.number)}",
            f"--mtu={self.plan.guest_mtu}",
            f"--memory={_machine_memory() // self.plan.hosts}",
            f"--proof-image={self.plan.cloud.image_dir / 'micro.qcow2'}",
        )
        return replace(program, unit="")

    def enrol(self, operator: Operator) -> None:
        """Enrol the agent from inside its place with a one-time token, unless it has a certificate."""
        chosen = self.settings
        chosen.agent_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
        tls.write_public(chosen.ca_file, self.plan.cloud.ca_file.read_bytes())
        if enrolment.is_enrolled(chosen):
            return

        def run(command: list[str | Path], stdin: str) -> tuple[int, str]:
            done = self.place.run(*command, stdin=stdin)
            return done.returncode, done.stderr

        enrolment.enrol(chosen, operator.create_token(self.plan.host_zone(self.number)).token, run)

    def start_agent(self) -> bool:
        """Make sure the agent of this release runs; tell whether it was started."""
        return processes.ensure(self.agent, self.place.start) != Began.RAN

    def power_off(self) -> None:
        """End the host as a power failure would: its agent, libvirt and guests at once; its disks stay."""
        self.place.end()


@dataclass(frozen=True, slots=True)
class Rig:
    """The parts of a rig, running or not."""

    plan: RigPlan

    @property
    def settings(self) -> Settings:
        """The rig's cloud."""
        return self.plan.cloud

    @property
    def underlay(self) -> RigPlace:
        """The place of the controller and of the bridge between the hosts."""
        return rig_places.place(UNDERLAY, self.plan.folder)

    @property
    def internet(self) -> RigPlace:
        """The place that simulates the internet."""
        return rig_places.place(INTERNET, self.plan.folder)

    @property
    def hosts(self) -> list[RigHost]:
        """The hosts, by number."""
        return [RigHost(self.plan, number) for number in self.plan.numbers]

    @property
    def places(self) -> dict[str, RigPlace]:
        """All places by name."""
        return {place.name: place for place in (self.underlay, self.internet, *(host.place for host in self.hosts))}

    @property
    def controller(self) -> Program:
        """The controller, in the underlay's place."""
        return replace(cloud.controller_program(self.settings), unit="")

    def start_controller(self) -> Began:
        """Make sure the controller of this release runs, wait until it answers, and return what was done."""
        return cloud.start_controller(self.settings, self.underlay.start)

    def host_records(self) -> dict[str, pb.Host]:
        """The controller's records of the hosts, by host name."""
        return {host.hostname: host for host in Operator(self.settings).list_hosts()}


@dataclass(frozen=True, slots=True)
class RigUp:
    """What `bring_up` left running."""

    rig: Rig
    hosts: dict[str, pb.Host]
    image_id: str


def bring_up(plan: RigPlan, steps: Steps) -> RigUp:
    """Make what is missing of a rig, start what does not run, and wait until all hosts are up."""
    rig_links.check_ways(plan)
    plan.remember()
    plan.cloud.remember()
    rig = Rig(plan)
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="rig") as pool:
        micro = pool.submit(image_build.build, plan.cloud, "micro", _quietly)
        with steps.step("places, bridges and cables") as step:
            step.note = f"{_make_places(rig, pool)} made, MTU {plan.mtu}"
        began = round(time.time() * 1000)
        with steps.step("controller answers") as step:
            step.note = controller = rig.start_controller()
        cloud.share_access(plan.cloud)
        operator = Operator(plan.cloud)
        with steps.step("hosts are enrolled"):
            _each(pool, lambda host: host.enrol(operator), rig.hosts)
        with steps.step("micro image is built") as step:
            step.note = micro.result().name
        with steps.step("agents are started") as step:
            fresh = [host for host in rig.hosts if host.start_agent()]
            step.note = f"{len(fresh)} of {len(rig.hosts)}"
    image_id = enter_image(plan.cloud, steps, micro.result())
    with steps.step("hosts are up") as step:
        hosts = _wait_for_hosts(
            rig, {host.name for host in fresh} if controller == Began.RAN else set(host_names(rig)), began
        )
        step.note = f"guests run on {', '.join(sorted({host.virtualization for host in hosts.values()}))}"
    return RigUp(rig, hosts, image_id)


def host_names(rig: Rig) -> list[str]:
    """The names of all hosts."""
    return [host.name for host in rig.hosts]


def tear_down(plan: RigPlan, steps: Steps) -> None:
    """End everything of a rig and remove its state; parts that do not exist are ignored."""
    rig = Rig(plan)
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="rig") as pool:
        with steps.step("hosts and their guests ended") as step:
            ended = _each(pool, lambda host: host.place.end(), rig.hosts)
            step.note = f"{sum(ended)} of {len(rig.hosts)} ran"
        with steps.step("controller, underlay and internet ended"):
            _each(pool, lambda place: place.end(), [rig.internet, rig.underlay])
            rig_links.unplug_caller(plan)
    _remove_control_groups(plan)
    with steps.step(f"{plan.folder} removed"):
        _remove_state(plan)


def _make_places(rig: Rig, pool: ThreadPoolExecutor) -> int:
    """Make the places and cables that are missing; return how many places were made."""
    made = _each(pool, lambda place: place.make(), rig.places.values())
    rig_links.wire_underlay(rig.plan, rig.underlay)
    rig_links.wire_internet(rig.plan, rig.internet)
    rig_links.wire_controller(rig.plan, rig.underlay, rig.internet)
    _each(
        pool, lambda host: rig_links.wire_host(rig.plan, host.number, host.place, rig.underlay, rig.internet), rig.hosts
    )
    return sum(made)


def _wait_for_hosts(rig: Rig, fresh: set[str], began: int) -> dict[str, pb.Host]:
    """Return all hosts' records when they are up; hosts that were just started must have reported since `began`."""

    def all_up() -> dict[str, pb.Host] | None:
        for host in rig.hosts:
            cloud.ended(host.agent)
        known = rig.host_records()
        well = {
            host.name: known[host.name]
            for host in rig.hosts
            if host.name in known
            and known[host.name].state == "up"
            and (host.name not in fresh or known[host.name].last_seen_milliseconds > began)
        }
        return well if len(well) == len(rig.hosts) else None

    return wait_for(
        all_up, cloud.HOST_SECONDS, lambda: cloud.failed(_first_missing(rig).agent, "does not reach it"), poll=0.2
    )


def _first_missing(rig: Rig) -> RigHost:
    known = rig.host_records()
    return next((host for host in rig.hosts if known.get(host.name, pb.Host()).state != "up"), rig.hosts[0])


def _machine_memory() -> int:
    """The total memory of this machine, in bytes, which is divided among the hosts."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _remove_control_groups(plan: RigPlan) -> None:
    """Remove the control groups of the guests: they belong to the machine, and the rig's libvirt had no time to do it.

    Libvirt names a guest's log and its groups by the guest; a group with a process in it cannot be removed.
    """
    endings = tuple(f"-{log.stem}.libvirt-qemu" for log in (plan.folder / "hosts").glob("*/libvirt/log/qemu/*.log"))
    if not endings:
        return
    for folder, _, _ in os.walk(_CONTROL_GROUPS, topdown=False):
        if any(part.endswith(endings) for part in Path(folder).parts):
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                Path(folder).rmdir()


def _remove_state(plan: RigPlan) -> None:
    """Delete Stead's files in the rig's folder, and the folder itself if nothing else is in it."""
    mine = plan.cloud
    for program in cloud.started_by_controller(mine):
        processes.stop(program)
    for folder in (
        plan.folder / "hosts",
        mine.controller_dir,
        mine.image_dir,
        mine.log_dir,
        mine.users_dir,
        mine.run_dir,
    ):
        shutil.rmtree(folder, ignore_errors=not folder.exists())
    for file in (mine.ca_file, mine.identity_file, mine.memory_file, plan.memory_file):
        file.unlink(missing_ok=True)
    try:
        plan.folder.rmdir()
    except OSError as error:
        strange = ", ".join(sorted(path.name for path in plan.folder.iterdir()))
        raise CliError(f"{plan.folder} has files that are not Stead's: {strange}", "they were left alone") from error


def _each[Part, Result](
    pool: ThreadPoolExecutor, work: Callable[[Part], Result], parts: Iterable[Part]
) -> list[Result]:
    """Call a function for all parts in parallel."""
    return list(pool.map(work, parts))


def _quietly(line: str) -> None:
    """Drop the output of the build, which runs in parallel with other steps; its errors include it."""
