"""Budget P17: one guest that floods the metadata service costs a neighbour < 5 %.

Run as root: python -m tests.bench.metadata_neighbour [--rounds 30] [--only full]. Guests are namespaces plugged into VPCs as the agent
makes them, with its firewall, and the service is the process that serves a host. The neighbour asks 1,024 times a second,
as much as P17 promises it, each time by a connection of its own, and is compared with itself beside a guest that burns its
processor without asking: a guest may use what it has. So the load generator has a processor of its own, as a guest's
virtual ones are, and the neighbour another; the service is on whichever the kernel gives it. Turns of half a second, in
another order in each round; what is printed is the median of all rounds' ratios, and how far it may be from the truth.
"""

import argparse
import contextlib
import multiprocessing
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from stead_agent.firewall import interface as fw
from stead_agent.metadata import control
from stead_agent.metadata.interface import Options
from stead_agent.metadata.server_process import MetadataProcess
from stead_agent.network import interface as net
from stead_agent.network.namespaces import enter as enter_namespace
from tests.bench.metadata import GET, TOKEN, ask, burn, connect, flood_connection, flood_requests, flood_silent, used
from tests.host.network.world import POOL, Guest, new_world, sent
from tests.support.metadata_guests import guest

RATE: Final = 1024
SECONDS: Final = 0.5
PAUSE: Final = 0.6  # longer than a guest is shut out, so that no measurement pays for the one before
LIMIT: Final = 0.05
GROUP: Final = "sg-0000000000000000a"


@dataclass(frozen=True)
class Sample:
    """What the neighbour saw in one measurement."""

    rate: float  # answers per second
    times: tuple[float, ...]  # seconds from when a question was due until its answer, sorted
    service: float  # processors that the service used


def _neighbour(orders: Connection) -> None:
    """Measure once for each command."""
    with connect() as sock:
        token = ask(sock, TOKEN).split(b"\r\n\r\n")[1]
    request = GET + b"X-aws-ec2-metadata-token: " + token + b"\r\nConnection: close\r\n\r\n"
    while orders.recv():
        orders.send(_sample(request))


def _sample(request: bytes) -> tuple[float, tuple[float, ...]]:
    """Ask at a steady pace; who is late makes up for it, and its questions count from when they were due."""
    times = []
    began = time.monotonic()
    for number in range(int(RATE * SECONDS)):
        due = began + number / RATE
        while (wait := due - time.monotonic()) > 0:
            time.sleep(wait)  # the pace of the measured guest, not a wait
        with connect() as sock:
            ask(sock, request)
        times.append(time.monotonic() - due)
    return len(times) / (time.monotonic() - began), tuple(sorted(times))


@contextlib.contextmanager
def _inside(plays: Guest, processor: int, what: Callable[..., object], *arguments: object) -> Iterator[None]:
    """Have a function run in a process that is the guest's, on a processor of its own."""

    def enter() -> None:
        os.sched_setaffinity(0, {processor})
        enter_namespace(plays.world.machine.open(plays.namespace))
        what(*arguments)

    process = multiprocessing.get_context("fork").Process(target=enter, daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def _serve(service: MetadataProcess, plays: Guest, number: int) -> None:
    known = replace(guest(number, plays.address, plays.vpc_id), options=Options(http_tokens_required=not number))
    service.put(plays.vpc_id, known)
    service.serve(plays.vpc_id, plays.world.namespaces.path(plays.vpc_id))


def _median(ratios: list[float]) -> tuple[float, float]:
    """Give the median and its standard error, from the quartiles."""
    first, middle, third = statistics.quantiles(ratios, n=4)
    return middle, 1.25 * (third - first) / 1.35 / len(ratios) ** 0.5


def _describe(name: str, samples: list[Sample], base: list[Sample]) -> float:
    """Print what one condition costs; give the greater of its costs."""
    pooled = sorted(value * 1e3 for sample in samples for value in sample.times)
    rate, _ = _median([sample.rate / other.rate for sample, other in zip(samples, base, strict=True)])
    typical, error = _median(
        [
            statistics.median(sample.times) / statistics.median(other.times)
            for sample, other in zip(samples, base, strict=True)
        ]
    )
    print(
        f"{name:36} {statistics.median(sample.rate for sample in samples):6.0f}/s ({rate:.3f})   p50 {pooled[len(pooled) // 2]:.3f} ms"
        f" ({typical:.3f} ± {error:.3f})   p99 {pooled[int(len(pooled) * 0.99)]:6.3f} ms"
        f"   service {statistics.median(sample.service for sample in samples):.0%} of a core",
        flush=True,
    )
    return max(1 - rate, typical - 1)


def _measure(
    pid: int,
    processors: list[int],
    neighbour: Guest,
    conditions: dict[str, tuple[Guest, Callable[[], None]]],
    rounds: int,
) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {name: [] for name in conditions}
    orders, theirs = multiprocessing.get_context("fork").Pipe()
    order = list(conditions)
    with _inside(neighbour, processors[0], _neighbour, theirs):
        for number in range(rounds + 1):
            random.shuffle(order)
            for name in order:
                attacker, flood = conditions[name]
                with _inside(attacker, processors[-1], flood):
                    time.sleep(PAUSE)  # so that the flood is in full flow
                    began, before = time.monotonic(), used(pid)
                    orders.send(True)
                    rate, times = orders.recv()
                    sample = Sample(rate, times, (used(pid) - before) / (time.monotonic() - began))
                if number:  # the first one warms up
                    found[name].append(sample)
                time.sleep(PAUSE)  # so that nobody is shut out any more
    return found


def main() -> None:
    """Measure all, one after the other, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--only", help="measure those floods alone whose names have this in them")
    asked = parser.parse_args()
    processors = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as state, new_world() as world:
        world.start(net.HostNetwork((POOL,)))
        vpc, other = (world.vpc("10.0.0.0/16", "10.0.1.0/24", groups=(fw.Group(GROUP, (sent(),)),)) for _ in range(2))
        neighbour, near, far = (
            world.guest(where, address, GROUP)
            for where, address in ((vpc, "10.0.1.10"), (vpc, "10.0.1.11"), (other, "10.0.1.10"))
        )
        service = MetadataProcess(Path(state, "run"), Path(state))
        for number, plays in enumerate((neighbour, near, far)):
            _serve(service, plays, number)
        pid = control.listening_process(Path(state, "run"))
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), processors)
        base = "a guest burns its processor"
        floods: dict[str, tuple[Guest, Callable[[], None]]] = {
            "one of its VPC floods connections": (near, flood_requests),
            "one of its VPC keeps 64 full": (near, flood_connection),
            "one of its VPC opens and says nothing": (near, flood_silent),
            "one of another VPC floods connections": (far, flood_requests),
            "one of another VPC keeps 64 full": (far, flood_connection),
        }
        conditions = {name: flood for name, flood in floods.items() if asked.only is None or asked.only in name}
        found = _measure(pid, processors, neighbour, {base: (near, burn), **conditions}, asked.rounds)
        service.end()
    costs = [_describe(name, samples, found[base]) for name, samples in found.items()]
    print(
        f"P17: a flooding guest costs a neighbour {max(costs):.1%} (limit {LIMIT:.0%}); load {os.getloadavg()[0]:.1f}"
    )
    assert max(costs) < LIMIT


if __name__ == "__main__":
    main()
