"""P5, P6 and P18: launches per second with 1,000 simulated agents, singly and in bulk, with few and with 10,000 instances.

    .venv/bin/python -m tests.bench.launch_rate [--hosts 1000] [--accounts 100] [--present 10000]
    .venv/bin/python -m tests.bench.launch_rate --database postgresql [--controllers 2] [--hosts 50] [--launches 1000]
        [--at-once 16] [--samples 60]

A real controller as shipped (HTTPS, SQLite on disk, records of calls), agents in processes of their own over gRPC and
TLS, one VPC with public addresses per account. A launch counts when its host has reported it `running`; rates are from
the first call to the last such report. CPU is the controller's whole process: calls, streams, reports, records. At the
end no host may have promised more than it has. All programs share the machine's cores: CPU seconds are those of each.

With PostgreSQL (`shared_launches.py`) one or two controllers on one server: launches by calls to all of them, so many at
once, and the way from a commit by the last to a host of the first.
"""

import argparse
import os
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Final

from stead_controller.placement.guest_memory import memory_of as memory_of_guest
from tests.bench import shared_launches
from tests.support.cloud import Cloud, HostSize
from tests.support.launch_calls import Caller, Figures, cpu_of
from tests.support.memory import memory_of
from tests.support.waiting import wait_for

SINGLY_LIMIT, BULK_LIMIT, CPU_LIMIT_MS, RATIO_LIMIT = 120.0, 300.0, 6.0, 0.9
RSS_LIMIT_MIB, IDLE_LIMIT = 200.0, 5.0
CALLERS: Final = 4
WARMING: Final = 200  # launches before the first that is measured
AT_ONCE: Final = 50
AGENTS_PER_PROCESS: Final = 250
IDLE_SECONDS: Final = 20
RECORDED_SECONDS: Final = 2  # within one, records of calls are written


@dataclass(frozen=True)
class Burst:
    """What some launches cost."""

    count: int
    seconds: float
    answered: float
    controller: float
    agents: float

    @property
    def rate(self) -> float:
        """Launches a second."""
        return self.count / self.seconds

    @property
    def cpu_ms(self) -> float:
        """Milliseconds of the controller's processors for each."""
        return self.controller / self.count * 1000

    def __str__(self) -> str:
        """Say the raw values."""
        return (
            f"({self.count} in {self.seconds:.1f} s, answered in {self.answered:.1f}; CPU s: controller "
            f"{self.controller:.1f}, agents {self.agents:.1f})"
        )


class Bench:
    """A cloud with its agents and accounts."""

    def __init__(self, folder: Path, hosts: int, accounts: int) -> None:
        self.cloud = cloud = Cloud(folder)
        cloud.start_controller()
        began = time.monotonic()
        for first in range(0, hosts, AGENTS_PER_PROCESS):
            cloud.add_hosts(min(AGENTS_PER_PROCESS, hosts - first), HostSize(cpus=64, memory=256 << 30))
        print(f"       {hosts} agents enrolled and connected in {time.monotonic() - began:.1f} s", flush=True)
        self._image_id = cloud.add_image()
        self._accounts = [cloud.new_account() for _ in range(accounts)]
        self._next_account = cycle(self._accounts)
        self._lock = threading.Lock()
        self._launched = 0

    def launch(self, count: int, at_once: int) -> Burst:
        """Launch instances, so many in each call, and wait until all run."""
        controller, agents, began = self._controller_cpu(), self._agents_cpu(), time.monotonic()
        calls = iter(range(0, count, at_once))
        with ThreadPoolExecutor(CALLERS) as threads:
            for done in [threads.submit(self._call, calls, at_once) for _ in range(CALLERS)]:
                done.result()
        answered = time.monotonic() - began
        self._launched += count
        wait_for(lambda: self._running() == self._launched, "all instances run", 600)
        seconds = time.monotonic() - began
        time.sleep(RECORDED_SECONDS)  # the records of the last calls are a part of the cost
        return Burst(count, seconds, answered, self._controller_cpu() - controller, self._agents_cpu() - agents)

    def _call(self, calls: Iterator[int], at_once: int) -> None:
        settings = self.cloud.settings
        caller = Caller(settings.https_port, settings.controller_dir / "ca.pem")
        while True:
            with self._lock:
                if next(calls, None) is None:
                    return
                account = next(self._next_account)
            caller.run_instances(account, self._image_id, at_once)

    def oversubscribed(self) -> int:
        """How many hosts have promised more than they have, or not just what their instances take."""
        query = """
            SELECT count(*) FROM hosts h LEFT JOIN (
                SELECT host_id, sum(memory_of(memory, vcpus)) AS memory, sum(vcpus) AS vcpus
                FROM instances WHERE capacity_held GROUP BY 1
            ) i ON i.host_id = h.id
            WHERE h.memory_reserved != coalesce(i.memory, 0) OR h.cpus_reserved != coalesce(i.vcpus, 0)
               OR h.memory_reserved > h.memory OR h.memory_free < 0 OR h.cpus_free < 0
        """
        return self._ask(query)

    def idle(self) -> tuple[float, float]:
        """The share of a core that the controller and all agents take while nothing happens."""
        controller, agents = self._controller_cpu(), self._agents_cpu()
        time.sleep(IDLE_SECONDS)  # the span that is measured
        spent = (self._controller_cpu() - controller, self._agents_cpu() - agents)
        return spent[0] / IDLE_SECONDS * 100, spent[1] / IDLE_SECONDS * 100

    def memory(self) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
        """The memory in MiB, as /proc/PID/smaps_rollup has it, of the process that serves, its parent and the stand-by."""
        controller = self.cloud.controller
        return memory_of(self._controller_pid), memory_of(controller.parent), memory_of(controller.stand_by)

    def _running(self) -> int:
        return self._ask("SELECT count(*) FROM instances WHERE state = 'running'")

    def _ask(self, query: str) -> int:
        """Look into the database from here, which costs the controller nothing."""
        (found,) = self._database().execute(query).fetchone()
        return int(found)

    def _database(self) -> sqlite3.Connection:
        path = self.cloud.settings.controller_dir / "stead.sqlite"
        database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        database.create_function("memory_of", 2, memory_of_guest, deterministic=True)
        return database

    @property
    def _controller_pid(self) -> int:
        return self.cloud.controller.serving

    def _controller_cpu(self) -> float:
        return cpu_of(self._controller_pid)

    def _agents_cpu(self) -> float:
        return sum(cpu_of(child.process.pid) for child in self.cloud.simulators if child.process is not None)


def _measure(bench: Bench, figures: Figures, options: argparse.Namespace) -> None:
    bench.launch(WARMING, 1)  # what is compiled at the first of a kind
    singly = bench.launch(options.singly, 1)
    figures.add("P5: singly", singly.rate, SINGLY_LIMIT, "launches/s", least=True, raw=str(singly))
    figures.add("P5: singly, the controller's CPU", singly.cpu_ms, CPU_LIMIT_MS, "ms each")
    bulk = bench.launch(options.bulk, AT_ONCE)
    figures.add(f"P5: by {AT_ONCE}", bulk.rate, BULK_LIMIT, "launches/s", least=True, raw=str(bulk))
    figures.add(f"P5: by {AT_ONCE}, the controller's CPU", bulk.cpu_ms, CPU_LIMIT_MS, "ms each")
    present = options.present - WARMING - options.singly - options.bulk
    if present > 0:
        rest = bench.launch(present - present % AT_ONCE, AT_ONCE)
        print(f"       {options.present} instances are present {rest}", flush=True)
        again = bench.launch(options.singly, 1)
        ratio = again.rate / singly.rate
        figures.add("P6: singly, of the rate before", ratio, RATIO_LIMIT, "x", least=True, raw=str(again))
        more = bench.launch(options.bulk, AT_ONCE)
        ratio = more.rate / bulk.rate
        figures.add(f"P6: by {AT_ONCE}, of the rate before", ratio, RATIO_LIMIT, "x", least=True, raw=str(more))
        print(f"       CPU ms each: {again.cpu_ms:.2f} singly, {more.cpu_ms:.2f} by {AT_ONCE}", flush=True)
    figures.add("P5: hosts that are oversubscribed", bench.oversubscribed(), 0, "hosts")
    controller, agents = bench.idle()
    figures.add(
        "P18: idle, CPU of all agents", agents, IDLE_LIMIT, "% of a core", raw=f"(controller {controller:.1f} %)"
    )
    serving, parent, stand_by = bench.memory()
    raw = f"(PSS {serving['Pss']:.1f}, anonymous {serving['Anonymous']:.1f})"
    figures.add("P18: the RSS of the process that serves", serving["Rss"], RSS_LIMIT_MIB, "MiB", raw=raw)
    raw = f"(PSS of the parent {parent['Pss']:.1f}, RSS {parent['Rss']:.1f}; PSS of the stand-by {stand_by['Pss']:.1f})"
    together = serving["Pss"] + parent["Pss"] + stand_by["Pss"]
    figures.add("P18: the PSS of all three", together, RSS_LIMIT_MIB, "MiB", raw=raw)


def main() -> int:
    """Measure, print the figures and their limits; 1 when a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--controllers", type=int, choices=(1, 2), default=1)
    parser.add_argument("--hosts", type=int, help="1,000 with SQLite, else 50")
    parser.add_argument("--accounts", type=int, help="100 with SQLite, else 10")
    parser.add_argument("--present", type=int, default=10_000)
    parser.add_argument("--singly", type=int, default=600)
    parser.add_argument("--bulk", type=int, default=1200)
    parser.add_argument("--launches", type=int, default=1000, help="with PostgreSQL")
    parser.add_argument("--at-once", type=int, default=16, help="with PostgreSQL")
    parser.add_argument("--samples", type=int, default=60, help="of the way to a host, with PostgreSQL")
    options = parser.parse_args()
    is_shared = options.database == "postgresql"
    options.hosts = options.hosts or (50 if is_shared else 1000)
    options.accounts = options.accounts or (10 if is_shared else 100)
    if is_shared:
        return shared_launches.measure(options)
    if options.controllers > 1:
        parser.error("a database of SQLite has one controller")
    figures = Figures()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options.hosts, options.accounts)
        try:
            print(f"       load average {os.getloadavg()[0]:.1f}", flush=True)
            _measure(bench, figures, options)
        finally:
            bench.cloud.stop()
    return int(figures.failed)


if __name__ == "__main__":
    sys.exit(main())
