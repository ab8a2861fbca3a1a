"""Controllers on one PostgreSQL: launches a second by calls to all, and the way from a commit to a host of another one.

    python -m tests.bench.launch_rate --database postgresql [--controllers 2] [--launches 1000] [--at-once 16]

Real controllers as shipped (HTTPS, records of calls), simulated hosts in a process of their own. A launch counts when its
host has reported it `running`. For the way to a host this program is one: its stream is at the first controller, calls go
to the second, and the time of each commit is the server's own (`pg_xact_commit_timestamp`).
"""

import argparse
import asyncio
import os
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPException
from itertools import cycle
from pathlib import Path
from typing import Final

from sqlalchemy import Engine, create_engine, text

from stead_agent import enrol
from stead_agent.simulated.clock import RealClock
from stead_agent.simulated.host import SimulatedHost
from stead_proto import tls
from stead_proto.v1 import host_pb2, host_pb2_grpc
from tests.support.clients import Account
from tests.support.cloud import Cloud, HostSize
from tests.support.launch_calls import Caller, Figures, cpu_of
from tests.support.postgresql import PostgresqlServer
from tests.support.second_controller import beside
from tests.support.waiting import wait_for

RATE_LIMIT, WAY_LIMIT_MS = 60.0, 50.0
WARMING: Final = 20
# https://boto3.amazonaws.com/v1/documentation/api/latest/guide/retries.html: with a random part of 1, 2, 4 … s between.
_ATTEMPTS: Final = 3


class Bench:
    """The clouds, which are one, and their database."""

    def __init__(self, folder: Path, server: PostgresqlServer, after: ExitStack, options: argparse.Namespace) -> None:
        url = server.new_database()
        self.refused = 0  # calls that were tried again
        self.server = server
        self.database: Engine = create_engine(url, isolation_level="AUTOCOMMIT")
        after.callback(self.database.dispose)
        (folder / "first").mkdir()
        self.first = Cloud(folder / "first", (f"--database-url={url}",))
        after.callback(self.first.stop)
        self.first.start_controller()
        self.clouds = [self.first]
        if options.controllers > 1:
            self.clouds.append(beside(self.first, folder / "second"))
            after.callback(self.clouds[-1].stop)
            self.clouds[-1].start_controller()
        self.image_id = self.first.add_image()
        self.accounts = [self.first.new_account() for _ in range(options.accounts)]

    def ask(self, query: str, **values: int) -> float:
        """Look into the database."""
        with self.database.connect() as connection:
            return float(connection.execute(text(query), values).scalar() or 0)

    def caller(self, cloud: Cloud) -> Caller:
        """Give a connection to one of the controllers."""
        return Caller(cloud.settings.https_port, cloud.settings.controller_dir / "ca.pem")

    def launch(self, count: int, at_once: int) -> tuple[float, int]:
        """Launch so many by calls to all, so many at once; give the seconds until all run, and how many calls failed.

        What is refused since the database cannot follow is tried again as boto3's standard mode does.
        """
        calls, lock, before = zip(range(count), cycle(self.accounts)), threading.Lock(), self._running()
        began = time.monotonic()
        with ThreadPoolExecutor(at_once) as threads:
            clouds = [self.clouds[number % len(self.clouds)] for number in range(at_once)]
            failed = sum(threads.map(lambda cloud: self._call(cloud, calls, lock), clouds))
        wait_for(lambda: self._running() == before + count - failed, "all instances run", 600)
        return time.monotonic() - began, failed

    def _call(self, cloud: Cloud, calls: Iterator[tuple[int, Account]], lock: threading.Lock) -> int:
        caller, failed = self.caller(cloud), 0
        while True:
            with lock:
                _, account = next(calls, (0, None))
            if account is None:
                return failed
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    caller.run_instances(account, self.image_id, 1)
                except (SystemExit, OSError, HTTPException) as refusal:
                    if "RequestLimitExceeded" in str(refusal) and attempt < _ATTEMPTS:
                        with lock:
                            self.refused += 1
                        time.sleep(random.random() * 2 ** (attempt - 1))  # as clients do
                        continue
                    print(repr(refusal), flush=True)
                    caller, failed = self.caller(cloud), failed + 1  # what is left of a call may still come
                break

    def _running(self) -> int:
        return int(self.ask("SELECT count(*) FROM instances WHERE state = 'running'"))

    def oversubscribed(self) -> float:
        """How many hosts have promised more than they have, or other processors than their instances have."""
        return self.ask("""
            SELECT count(*) FROM hosts h LEFT JOIN (
                SELECT host_id, sum(vcpus) AS vcpus FROM instances WHERE capacity_held GROUP BY 1
            ) i ON i.host_id = h.id
            WHERE h.cpus_reserved != coalesce(i.vcpus, 0) OR h.cpus_free < 0 OR h.memory_free < 0
        """)

    def cpu(self) -> tuple[float, float]:
        """Processor time of all controllers, and of the server."""
        return sum(cpu_of(each.controller.serving) for each in self.clouds), self.server.cpu_seconds()


async def ways(bench: Bench, folder: Path, token: str, samples: int) -> tuple[str, list[float]]:
    """Give a new host of the first controller, and the milliseconds until it had each of so many commits of the last."""
    settings, found = bench.first.settings, list[float]()
    ca_pem = (settings.controller_dir / "ca.pem").read_bytes()
    address = f"127.0.0.1:{settings.enrolment_port}"
    host_id = await enrol.enrol(address, ca_pem, token, folder)
    facts = SimulatedHost(RealClock(asyncio.get_running_loop())).facts()
    caller = bench.caller(bench.clouds[-1])
    async with tls.channel_to_controller(f"127.0.0.1:{settings.host_port}", tls.Identity.load(folder)) as channel:
        call = host_pb2_grpc.HostLinkStub(channel).Session()
        await call.write(host_pb2.HostReport(hello=host_pb2.Hello(agent_version="bench", facts=facts)))
        updates = aiter(call)
        async for update in updates:
            if update.WhichOneof("body") == "state":
                break
        for _ in range(samples):
            launching = asyncio.create_task(
                asyncio.to_thread(caller.run_instances, bench.accounts[0], bench.image_id, 1)
            )
            async for update in updates:
                if any(each.WhichOneof("body") == "machine" for each in update.state.resources):
                    break
            came = time.time()
            await launching
            committed = bench.ask(
                "SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin)) FROM host_resources WHERE revision = :r LIMIT 1",
                r=update.state.revision,
            )
            found.append((came - committed) * 1000)
    return host_id, found


def _measure(bench: Bench, figures: Figures, options: argparse.Namespace, folder: Path) -> None:
    (folder / "host").mkdir()
    token = bench.first.operator.create_token().token
    host_id, found = asyncio.run(ways(bench, folder / "host", token, options.samples))
    bench.first.operator.set_schedulable(host_id, schedulable=False)
    most = sorted(found)[int(len(found) * 0.95)]
    median = statistics.median(found)
    figures.add("from commit to a host of the first, p50", median, WAY_LIMIT_MS, "ms", raw=f"(p95 {most:.1f})")
    bench.first.add_hosts(options.hosts, HostSize(cpus=256, memory=256 << 30))
    bench.launch(WARMING, 2)
    before = bench.cpu()
    seconds, failed = bench.launch(options.launches, options.at_once)
    spent = [(now - then) / options.launches * 1000 for now, then in zip(bench.cpu(), before, strict=True)]
    raw = f"({options.launches} in {seconds:.1f} s; CPU ms each: controllers {spent[0]:.1f}, server {spent[1]:.1f})"
    figures.add(
        f"launches by {options.controllers} controllers",
        options.launches / seconds,
        RATE_LIMIT,
        "/s",
        least=True,
        raw=raw,
    )
    figures.add("launches that failed", failed, 0, "calls", raw=f"({bench.refused} calls refused and tried again)")
    figures.add("hosts that are oversubscribed", bench.oversubscribed(), 0, "hosts")


def measure(options: argparse.Namespace) -> int:
    """Measure, print the figures and their limits; 1 when a limit is missed."""
    figures = Figures()
    with ExitStack() as after:
        folder = Path(after.enter_context(tempfile.TemporaryDirectory()))
        server = PostgresqlServer(("track_commit_timestamp=on",))
        after.callback(server.stop)
        server.start()
        print(f"       load average {os.getloadavg()[0]:.1f}", flush=True)
        _measure(Bench(folder, server, after, options), figures, options, folder)
    return int(figures.failed)
