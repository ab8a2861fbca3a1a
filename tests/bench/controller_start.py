"""P19: how long a controller that was killed with -9 takes until it answers again, and what it weighs then (P18).

    python -m tests.bench.controller_start [--rounds 10]

Each round kills the process that serves an empty cloud, which its parent replaces, and then the parent, so that all is
started anew. After each of both it asks until there is an answer: first for the controller's health, which is given as soon
as it listens, then for a first signed call of EC2's. CPU seconds are those of the process that serves (after a whole start
with those of its parent), from its first instruction to that answer: they do not count what else the machine does, so
they are what wall time is on a machine with nothing else to do. Each of two processes counts its share of common pages (PSS).
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

from stead_proto import alone
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


def parent_of(cloud: Cloud) -> int:
    """The process id of the parent of the process that serves."""
    assert cloud.controller.process is not None
    return cloud.controller.process.pid


def measure(cloud: Cloud, kill: Callable[[], int], *, with_parent: bool) -> Start:
    """Kill the process whose id `kill` returns, and ask until another one answers."""
    ec2 = cloud.first_account.ec2
    killed = kill()
    began = time.monotonic()
    if with_parent:
        cloud.controller.start()

    def answers() -> bool:
        return alone.holder(cloud.controller.serving_file) not in {None, killed} and cloud.answers()

    wait_for(answers, "another one answers", _SECONDS, poll=0.005)
    wall = time.monotonic() - began
    pids = [cloud.controller.serving, *([parent_of(cloud)] if with_parent else [])]
    listening = cpu_of(*pids)
    ec2.describe_vpcs()
    return Start(listening, cpu_of(*pids), wall, time.monotonic() - began)


def kill_both(cloud: Cloud) -> int:
    """Kill the parent, with which the process that serves dies; return its id."""
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
            replaced, anew, sizes = [], [], []
            for _ in range(rounds):
                replaced.append(measure(cloud, cloud.controller.kill_serving, with_parent=False))
                sizes.append((memory_of(cloud.controller.serving), memory_of(parent_of(cloud))))
                anew.append(measure(cloud, lambda: kill_both(cloud), with_parent=True))
        finally:
            cloud.stop()
    answering = show("replaced", replaced)
    show("started anew", anew)
    resident = max(serving["Rss"] for serving, _ in sizes)
    both = max(serving["Pss"] + parent["Pss"] for serving, parent in sizes)
    print(f"P19: {answering:.2f} CPU s until EC2 answers (limit {LIMIT:g})")
    print(f"P18: {resident:.0f} MiB resident (limit {MOST_MIB}), with the parent {both:.0f} MiB of PSS")
    sys.exit(answering > LIMIT or resident > MOST_MIB)


if __name__ == "__main__":
    main()
