"""What befalls a rig: each fault begins and ends by itself, and says what it did; nothing is repaired but what it broke.

Programs that a person or systemd would start again (controller, agents, hosts) are started again; what Stead keeps alive
itself is not.
"""

import contextlib
import json
import os
import random
import select
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from stead_cli import processes, rig_links
from stead_cli.processes import Began, Program
from stead_cli.rig_cloud import RigHost
from stead_proto import alone
from tests.recovery.storm import drift
from tests.support.real_cloud import kill
from tests.support.rig import TestRig
from tests.support.waiting import wait_for

# The programs of a host that outlive its agent, as `pgrep` finds them.
PROGRAMS: Final = {
    "libvirtd": ("-x", "libvirtd"),
    "qemu": ("^qemu-system",),
    "dnsmasq": ("-x", "dnsmasq"),
    "metadata": ("-f", "stead_agent[.]metadata"),
    "storage": ("-x", "qemu-storage-da"),
}
# EC2 recovers an instance three times a day, and stops it then; one time is left for faults of the emulator's own.
KILLS_OF_A_GUEST: Final = 2
LONGEST_FREEZE: Final = 6.0
LONGEST_ABSENCE: Final = 3.0
_PIECE: Final = 1 << 16


class NothingThereError(Exception):
    """A fault has nothing that it could befall, such as a guest where none runs."""


@dataclass(frozen=True)
class Scene:
    """A rig that faults befall, whose controller and agents have small file systems of their own, and chance."""

    rig: TestRig
    chance: random.Random
    killed: Counter[str] = field(default_factory=Counter)  # how often each guest's process was

    def host(self) -> RigHost:
        """Any of its hosts."""
        return self.chance.choice(self.rig.hosts)

    def moment(self, longest: float) -> float:
        """Wait for a moment, and tell how long that was."""
        seconds = self.chance.uniform(0.2, longest)
        time.sleep(seconds)  # the fault's length is its content
        return seconds


Fault = Callable[[Scene], str]


def kill_controller(scene: Scene) -> str:
    """Kill -9 of all its processes, and start it a moment later."""
    kill(scene.rig.rig.controller)
    away = scene.moment(LONGEST_ABSENCE)
    scene.rig.rig.start_controller()
    return f"controller, away {away:.1f} s"


def kill_serving(scene: Scene) -> str:
    """Kill -9 the process of the controller that serves, which its parent replaces."""
    return f"process {_kill_one(scene, _serving(scene))}, which served"


def kill_parent(scene: Scene) -> str:
    """Kill -9 the parent of the process that serves, whose place its stand-by takes."""
    return f"process {_kill_one(scene, scene.rig.rig.controller)}, the parent of what served"


def _kill_one(scene: Scene, program: Program) -> int:
    """Kill one process of the controller, wait until it answers again, and return its id."""
    running = processes.hold(program)
    if running is None:
        raise NothingThereError("none is there at this moment")
    try:
        signal.pidfd_send_signal(running.pidfd, signal.SIGKILL)
        wait_for(lambda: select.select([running.pidfd], [], [], 0)[0], "it is dead", 10)
    finally:
        running.close()
    assert scene.rig.rig.start_controller() == Began.RAN, "nobody has taken its place"  # and it answers
    return running.pid


def freeze_controller(scene: Scene) -> str:
    return _freeze(scene, _serving(scene))


def _serving(scene: Scene) -> Program:
    """The process of the controller that serves, which is found by the lock that it holds."""
    controller = scene.rig.rig.controller
    assert controller.lock_file is not None
    lock = controller.lock_file.with_name(alone.SERVING_FILE_NAME)
    return replace(controller, pid_file=lock.with_suffix(".pid"), lock_file=lock)


def kill_agent(scene: Scene) -> str:
    host = scene.host()
    kill(host.agent)
    away = scene.moment(LONGEST_ABSENCE)
    host.start_agent()
    return f"agent of {host.name}, away {away:.1f} s"


def freeze_agent(scene: Scene) -> str:
    host = scene.host()
    return f"{host.name}: {_freeze(scene, host.agent)}"


def _freeze(scene: Scene, program: Program) -> str:
    running = processes.hold(program)
    assert running is not None, f"{program.name} does not run:\n{processes.last_lines(program.log_file, 25)}"
    try:
        signal.pidfd_send_signal(running.pidfd, signal.SIGSTOP)
        seconds = scene.moment(LONGEST_FREEZE)
        signal.pidfd_send_signal(running.pidfd, signal.SIGCONT)
    finally:
        running.close()
    return f"{program.name}, frozen {seconds:.1f} s"


def killer(program: str) -> Fault:
    """The fault that kills one process of a program of a host; whoever needs it must start it again."""

    def strike(scene: Scene) -> str:
        host, pid = _process(scene, program)
        host.place.run("kill", "-KILL", pid)
        return f"{program} {pid} of {host.name}"

    return strike


def kill_qemu(scene: Scene) -> str:
    """A guest's process is killed, of a guest of which that was not done too often."""
    host, pid = _process(scene, "qemu")
    guest = host.place.run("sed", "-z", "-n", r"s/^guest=\([^,]*\),.*/\1/p", f"/proc/{pid}/cmdline").stdout.strip(
        "\0\n"
    )
    if not guest or scene.killed[guest] >= KILLS_OF_A_GUEST:
        raise NothingThereError(f"{guest} was killed {scene.killed[guest]} times")
    scene.killed[guest] += 1
    host.place.run("kill", "-KILL", pid)
    return f"qemu {pid} of {host.name}, {guest}"


def freezer(program: str) -> Fault:
    """The fault that stops one process of a program of a host for a moment."""

    def strike(scene: Scene) -> str:
        host, pid = _process(scene, program)
        host.place.run("kill", "-STOP", pid)
        try:
            seconds = scene.moment(LONGEST_FREEZE)
        finally:
            host.place.run("kill", "-CONT", pid)
        return f"{program} {pid} of {host.name}, frozen {seconds:.1f} s"

    return strike


def _process(scene: Scene, program: str) -> tuple[RigHost, str]:
    """One process of a program, on any host that has one."""
    hosts = scene.rig.hosts
    scene.chance.shuffle(hosts)
    for host in hosts:
        if pids := host.place.run("pgrep", *PROGRAMS[program]).stdout.split():
            return host, scene.chance.choice(pids)
    raise NothingThereError(program)


def fill_disk(scene: Scene) -> str:
    """The controller's file system is full for a moment, and half of the time the controller is killed meanwhile."""
    is_killed = scene.chance.random() < 0.5
    with _full(scene.rig.plan.cloud.controller_dir):
        seconds = scene.moment(LONGEST_FREEZE)
        if is_killed:
            kill(scene.rig.rig.controller)
    if is_killed:
        scene.rig.rig.start_controller()
    return f"controller's disk, full {seconds:.1f} s{', then killed' if is_killed else ''}"


def fill_host_disk(scene: Scene) -> str:
    """A host's file system, with its guests' disks, is full for a moment, and half of the time its agent is killed meanwhile."""
    host, is_killed = scene.host(), scene.chance.random() < 0.5
    with _full(host.settings.agent_dir):
        seconds = scene.moment(LONGEST_FREEZE)
        if is_killed:
            kill(host.agent)
    if is_killed:
        host.start_agent()
    return f"disk of {host.name}, full {seconds:.1f} s{', then its agent killed' if is_killed else ''}"


@contextlib.contextmanager
def _full(folder: Path) -> Iterator[None]:
    """Leave no room in a file system meanwhile."""
    filler = folder / "filler"
    try:
        with filler.open("ab", buffering=0) as file:
            room = os.statvfs(folder)
            with contextlib.suppress(OSError):  # somebody has taken some of it meanwhile
                os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize)
            with contextlib.suppress(OSError):  # it is full
                while True:
                    file.write(bytes(_PIECE))
        yield
    finally:
        filler.unlink()


def cut_underlay(scene: Scene) -> str:
    """A host reaches neither controller nor other hosts for a moment."""
    host = scene.host()
    with _link_down(scene, host):
        seconds = scene.moment(2 * LONGEST_FREEZE)
    return f"underlay of {host.name}, {seconds:.1f} s"


@contextlib.contextmanager
def _link_down(scene: Scene, host: RigHost) -> Iterator[None]:
    underlay = scene.rig.rig.underlay
    underlay.run("ip", "link", "set", host.name, "down")
    try:
        yield
    finally:
        underlay.run("ip", "link", "set", host.name, "up")


def drift_link(scene: Scene) -> str:
    """A link of Stead's is set down, taken out of its bridge, or deleted."""
    host = scene.host()
    shown = json.loads(host.place.run("ip", "-j", "-d", "link").stdout)
    return _drift(scene, host, drift.of_links(shown))


def drift_rules(scene: Scene) -> str:
    """A table of nftables, of the host or of a VPC in it, is deleted."""
    host = scene.host()
    return _drift(scene, host, drift.of_tables(host.place.run("sh", "-c", drift.TABLES).stdout))


def _drift(scene: Scene, host: RigHost, damages: list[tuple[str, ...]]) -> str:
    if not damages:
        raise NothingThereError(host.name)
    damage = scene.chance.choice(damages)
    done = host.place.run(*damage)
    if done.returncode != 0:  # as the kernel refuses it for a table that a program owns
        raise NothingThereError(f"{host.name}: {' '.join(damage)}: {done.stderr.strip()}")
    return f"{host.name}: {' '.join(damage)}"


def cut_power(scene: Scene) -> str:
    """All processes and the kernel's state of a host end at once; a moment later it boots."""
    host, rig = scene.host(), scene.rig.rig
    host.power_off()
    away = scene.moment(LONGEST_ABSENCE)
    host.place.make()
    rig_links.wire_host(rig.plan, host.number, host.place, rig.underlay, rig.internet)
    host.start_agent()
    return f"power of {host.name}, {away:.1f} s"


FAULTS: Final[dict[str, Fault]] = {
    "kill controller": kill_controller,
    "kill serving process": kill_serving,
    "kill parent process": kill_parent,
    "freeze controller": freeze_controller,
    "kill agent": kill_agent,
    "freeze agent": freeze_agent,
    **{f"kill {program}": killer(program) for program in PROGRAMS},
    **{f"freeze {program}": freezer(program) for program in PROGRAMS},
    "kill qemu": kill_qemu,
    "fill disk": fill_disk,
    "fill host disk": fill_host_disk,
    "cut underlay": cut_underlay,
    "drift link": drift_link,
    "drift rules": drift_rules,
    "cut power": cut_power,
}
# How often each befalls, of those that can: a host that boots is long about it, and its guests too.
WEIGHTS: Final = {
    "cut power": 1,
    "kill qemu": 1,
    "kill controller": 4,
    "kill serving process": 4,
    "kill parent process": 4,
    "kill agent": 4,
}
WEIGHT: Final = 2


def choose(chance: random.Random, names: list[str]) -> str:
    """The name of one of some faults."""
    return chance.choices(names, [WEIGHTS.get(name, WEIGHT) for name in names])[0]
