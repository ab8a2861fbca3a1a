"""P19: how long a controller that was killed with -9 takes until it answers again, and what it weighs then (P18).

    python -m tests.bench.controller_start [--rounds 10]

Each round kills the controller of an empty cloud, starts the program and asks until it answers: first for its health, which it
does as soon as it listens, then for a first signed call of EC2's. CPU seconds are the program's own, from its first
instruction to that answer: they do not count what else the machine does, so they are what wall time is on a machine with
nothing else to do.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.cloud import Cloud

LIMIT: Final = 0.5  # seconds
MOST_MIB: Final = 200
_TICK: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Start:
    """Seconds from the start of the program: CPU until it listens and until EC2 has answered, and all until then; MiB."""

    listening: float
    answering: float
    wall: float
    resident: int


def cpu_of(pid: int) -> float:
    """The CPU seconds that a process has spent."""
    words = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / _TICK


def resident_of(pid: int) -> int:
    """The MiB of memory that a process has."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    (kib,) = (line.split()[1] for line in lines if line.startswith("VmRSS:"))
    return int(kib) >> 10


def start(cloud: Cloud) -> Start:
    """Kill the controller, and start it again."""
    ec2 = cloud.first_account.ec2
    cloud.controller.kill()
    began = time.monotonic()
    cloud.start_controller()
    assert cloud.controller.process is not None
    pid = cloud.controller.process.pid
    listening = cpu_of(pid)
    ec2.describe_vpcs()
    return Start(listening, cpu_of(pid), time.monotonic() - began, resident_of(pid))


def main() -> None:
    """Print the figures; exit with 1 when one is over its limit."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        cloud = Cloud(Path(folder))
        try:
            cloud.start_controller()
            starts = [start(cloud) for _ in range(rounds)]
        finally:
            cloud.stop()
    for name in ("listening", "answering", "wall"):
        values = sorted(getattr(one, name) for one in starts)
        print(f"{name}: median {statistics.median(values):.2f} s, {values[0]:.2f} to {values[-1]:.2f}")
    answering = statistics.median(one.answering for one in starts)
    resident = max(one.resident for one in starts)
    print(
        f"P19: {answering:.2f} CPU s until EC2 answers (limit {LIMIT:g}); P18: {resident} MiB resident (limit {MOST_MIB})"
    )
    sys.exit(answering > LIMIT or resident > MOST_MIB)


if __name__ == "__main__":
    main()
