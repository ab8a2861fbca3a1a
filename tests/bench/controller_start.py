"""P19: how long a controller that was killed with -9 takes until it answers again, and what it weighs then (P18).

    python -m tests.bench.controller_start [--rounds 10]

Each round kills the process that serves an empty cloud, which its parent replaces; then that parent, whose place its
stand-by takes; and then all three, so that all is started anew. After each it asks until there is an answer: first for the
controller's health, which is given as soon as it listens, then for a first signed call of EC2's. CPU seconds are those of
the process that serves from its first instruction to that answer, with those of the stand-by since the kill and, after a
whole start, those of the parent: they do not count what else the machine does, so they are what wall time is on a machine
with nothing else to do. Each of the three processes counts its share of common pages (PSS).
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.cloud import Cloud
from tests.support.memory import memory_of
from tests.support.waiting import wait_for

LIMIT: Final = 0.5  # seconds
MOST_MIB: Final = 200
_TICK: Final = os.sysconf("SC_CLK_TCK")
_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Start:
    """Seconds from the kill or the start: CPU until it listens and until EC2 has answered, and all until both."""

    listening: float
    answering: float
    wall_listening: float
    wall: float


def cpu_of(*pids: int) -> float:
    """The CPU seconds that processes have spent."""
    spent = 0
    for pid in pids:
        words = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        spent += int(words[11]) + int(words[12])
    return spent / _TICK


def measure(cloud: Cloud, kill: Callable[[], int], *, anew: bool = False) -> Start:
    """Kill by a function, which returns the id of the process that served, and ask until another one answers."""
    ec2 = cloud.first_account.ec2
    stand_by = cloud.controller.stand_by
    before = cpu_of(stand_by)
    killed = kill()
    began = time.monotonic()
    if anew:
        cloud.controller.start()

    def answers() -> bool:
        return cloud.controller.another_serves(killed) and cloud.answers()

    wait_for(answers, "another one answers", _SECONDS, poll=0.005)
    wall = time.monotonic() - began
    parent = cloud.controller.parent
    pids = [cloud.controller.serving, *([parent] if anew or parent == stand_by else [])]
    spent = before if parent == stand_by else 0.0
    listening = cpu_of(*pids) - spent
    ec2.describe_vpcs()
    return Start(listening, cpu_of(*pids) - spent, wall, time.monotonic() - began)


def kill_all(cloud: Cloud) -> int:
    """Kill all processes; return the id of the one that served."""
    serving = cloud.controller.serving
    cloud.controller.kill()
    return serving


def show(what: str, starts: list[Start]) -> float:
    """Print the figures of one kind of kill; return the median of CPU seconds until EC2 answers."""
    for name in ("listening", "answering", "wall_listening", "wall"):
        values = sorted(getattr(one, name) for one in starts)
        print(f"{what}, {name}: median {statistics.median(values):.2f} s, {values[0]:.2f} to {values[-1]:.2f}")
    return statistics.median(one.answering for one in starts)


def main() -> None:
    """Print the figures; exit with 1 when one is over its limit."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    print(f"load average {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        cloud = Cloud(Path(folder))
        try:
            cloud.start_controller()
            replaced, orphaned, anew, sizes = [], [], [], []
            for _ in range(rounds):
                replaced.append(measure(cloud, cloud.controller.kill_serving))
                orphaned.append(measure(cloud, cloud.controller.kill_parent))
                pids = (cloud.controller.serving, cloud.controller.parent, cloud.controller.stand_by)
                sizes.append([memory_of(pid) for pid in pids])
                anew.append(measure(cloud, lambda: kill_all(cloud), anew=True))
        finally:
            cloud.stop()
    answering = max(show("server killed", replaced), show("parent killed", orphaned))
    show("all killed, started anew", anew)
    resident = max(serving["Rss"] for serving, *_ in sizes)
    together = max(sum(each["Pss"] for each in three) for three in sizes)
    of_stand_by = max(three[2]["Private_Dirty"] + three[2].get("Private_Clean", 0.0) for three in sizes)
    print(f"P19: {answering:.2f} CPU s until EC2 answers (limit {LIMIT:g})")
    print(f"P18: {resident:.0f} MiB resident (limit {MOST_MIB}), all three {together:.0f} MiB of PSS")
    print(f"     of which the stand-by has {of_stand_by:.1f} MiB of its own")
    sys.exit(answering > LIMIT or resident > MOST_MIB)


if __name__ == "__main__":
    main()
