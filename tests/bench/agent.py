"""The agent's own share of P10, P11, P18 and P19, over simulated hosts and a controller that costs nothing.

    python -m tests.bench.agent [--hosts 1000]

Prints for each figure its limit and the raw values; a figure over its limit ends with status 1. Byte code is compiled
first, as an installation does: without it, each process would compile libvirt and all else anew and keep the waste.
"""

import argparse
import asyncio
import compileall
import os
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from stead_controller.catalog import ids
from tests.support import desired_states as make
from tests.support.fake_controller import FakeController
from tests.support.processes import BIN, ROOT, Child

HOST = "h-0123456789abcdef0"
COMPILED = ("agent", "proto")  # packages of which no module is compiled while memory is measured
WARMING = 1  # hosts that are not counted: they compile what else is imported
MEMBERS = 5000
CHANGES = 60
IDLE_SECONDS = 20


@dataclass
class Figures:
    """What was measured."""

    failed: bool = False
    lines: list[str] = field(default_factory=list)

    def add(self, name: str, value: float, limit: float, unit: str, raw: str = "") -> None:
        """Print a figure and remember whether it is within its limit."""
        verdict = "ok" if value <= limit else "OVER"
        self.failed |= value > limit
        print(f"{verdict:4} {name}: {value:.1f} {unit}, limit {limit:g} {unit} {raw}", flush=True)


def _environment(cache: Path) -> dict[str, str]:
    remaining = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "STEAD"))}
    return {**remaining, "PYTHONPYCACHEPREFIX": str(cache)}


def _simulator(folder: Path, controller: FakeController, hosts: int, cache: Path) -> Child:
    command: list[str | Path] = [
        BIN / "stead-agent",
        "--log-level=warning",
        "simulate",
        f"--state-dir={folder}",
        f"--controller={controller.address}",
        f"--hosts={hosts}",
    ]
    return Child("simulate", command, folder / "agent.log", _environment(cache))


def _rss_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def _cpu_seconds(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


async def _one_host(figures: Figures, folder: Path, cache: Path) -> None:
    """A rule change in a VPC with thousands of members, and an idle agent's memory."""
    controller = FakeController(heartbeat_seconds=5)
    await controller.start()
    controller.authority.issue_host(HOST).save(folder / "simulated-0001")
    sender = controller.sender(HOST)
    members = tuple(f"10.1.{number // 250}.{number % 250}" for number in range(MEMBERS))
    launches = [each for number in range(1, 51) for each in make.launch(str(number))]
    sender.change(make.host_network(), *launches)
    sender.change(
        make.group(peer="sg-9"), *(make.mapping(f"eni-9{n}", it, group_id="sg-9") for n, it in enumerate(members))
    )
    child = _simulator(folder, controller, 1, cache)
    child.start()
    await controller.until(lambda: HOST in controller.sessions, "it is connected", 60)
    session = controller.sessions[HOST]
    await controller.until(lambda: session.revision == sender.revision, "it is settled", 60)
    times = []
    for port in range(100, 100 + CHANGES):
        message = sender.change(make.group(port=port, peer="sg-9"))
        began = time.perf_counter()
        session.send(message)
        await controller.until(lambda want=message.revision: session.revision >= want, "it is sent")
        times.append((time.perf_counter() - began) * 1000)
    median = statistics.median(times)
    figures.add(f"rule change among {MEMBERS} members, sent to reported, p50", median, 10, "ms", _raw(times))
    assert child.process is not None
    figures.add("idle simulated agent with 50 guests, RSS", _rss_mib(child.process.pid), 60, "MiB")
    child.stop()
    await controller.stop()


def _raw(values: list[float]) -> str:
    ordered = sorted(values)
    return f"(min {ordered[0]:.1f}, p90 {ordered[int(len(ordered) * 0.9)]:.1f}, max {ordered[-1]:.1f})"


async def _fleet(figures: Figures, folder: Path, cache: Path, hosts: int) -> None:
    """Many agents in one process: memory, heartbeats, one change to all, and all of them after a controller's end."""
    controller = FakeController(heartbeat_seconds=10)
    await controller.start()
    for number in range(1, hosts + 1):
        host_id = ids.new_id("host")
        controller.authority.issue_host(host_id).save(folder / f"simulated-{number:04}")
        controller.sender(host_id).change(make.host_network(), *make.launch())
    child = _simulator(folder, controller, hosts, cache)
    child.start()
    await controller.until(lambda: _settled(controller) == hosts, "all are settled", 300)
    assert child.process is not None
    pid = child.process.pid
    figures.add(f"{hosts} agents in one process, RSS each", _rss_mib(pid) / hosts, 0.5, "MiB")
    before = _cpu_seconds(pid)
    await asyncio.to_thread(threading.Event().wait, IDLE_SECONDS)  # the span that is measured
    figures.add(
        f"{hosts} heartbeating agents, CPU", (_cpu_seconds(pid) - before) / IDLE_SECONDS * 100, 5, "% of a core"
    )
    began = time.perf_counter()
    for host_id, session in controller.sessions.items():
        session.send(controller.sender(host_id).change(make.group(port=80)))
    await controller.until(lambda: _settled(controller) == hosts, "all have the change", 60)
    figures.add(f"one change to {hosts} agents, acked by all", time.perf_counter() - began, 1 * hosts / 1000, "s")
    await controller.stop()
    connections = controller.connections
    await controller.start()
    began, spent = time.perf_counter(), _cpu_seconds(pid)
    await controller.until(lambda: controller.connections - connections >= hosts, "all are back", 120)
    seconds = time.perf_counter() - began
    cpu = f"({_cpu_seconds(pid) - spent:.1f} CPU s on the agents' side)"
    figures.add(f"{hosts} agents back after a controller's restart", seconds, max(2.0, 6 * hosts / 1000), "s", cpu)
    child.stop()
    await controller.stop()


def _settled(controller: FakeController) -> int:
    return sum(
        session.revision == controller.sender(host_id).revision for host_id, session in controller.sessions.items()
    )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--hosts", type=int, default=1000)
    hosts = parser.parse_args().hosts
    figures = Figures()
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "bytecode"
        sys.pycache_prefix = str(cache)
        for package in COMPILED:
            compileall.compile_dir(ROOT / package, quiet=1)
        (Path(folder) / "one").mkdir()
        (Path(folder) / "fleet").mkdir()
        for _ in range(WARMING):
            asyncio.run(_one_host(Figures(), Path(folder) / "one", cache))
        asyncio.run(_one_host(figures, Path(folder) / "one", cache))
        asyncio.run(_fleet(figures, Path(folder) / "fleet", cache, hosts))
    sys.exit(figures.failed)


if __name__ == "__main__":
    main()
