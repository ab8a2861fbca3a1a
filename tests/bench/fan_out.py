"""P11 and P19 with a real controller: 1,000 simulated agents in two processes, one instance on each, all in one VPC.

    python -m tests.bench.fan_out [--hosts 1000] [--processes 2]

Prints for each figure its limit and the raw values; a figure over its limit ends with status 1. A change counts as acked
when the agent has said that it reached the change's revision. All programs share the machine's cores, so a thousand
agents on two of them are more of the time than the controller is: CPU seconds are printed for each.
"""

import argparse
import asyncio
import gc
import http.client
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from stead_cli.operator import Operator
from stead_cli.settings import Settings as CliSettings
from stead_controller.clock import now
from stead_controller.controller import Controller
from stead_controller.db.tables import HostResource, VpcResource
from stead_controller.desired import revisions
from stead_controller.initialise import initialise
from stead_controller.settings import Settings
from stead_proto.v1 import operator_pb2 as pb
from tests.support.clients import Account
from tests.support.processes import BIN, Child, free_ports

ROUNDS = 15
IMAGE_BYTES = 64 << 20
REPORTED_SECONDS, STORED_SECONDS = 5.0, 3.0  # after which nothing of what was done is under way
MEMORY = 400 << 20  # room for one tiny instance, its QEMU and what emulation may take, and not for two


class Fleet:
    """A controller in this process, and simulated agents in others; how far each agent is."""

    def __init__(self, folder: Path, hosts: int, processes: int) -> None:
        names = ("http_port", "https_port", "host_port", "enrolment_port", "endpoint_port")
        ports = dict(zip(names, free_ports(len(names)), strict=True))
        self.folder, self.hosts, self.processes = folder, hosts, processes
        self.settings = Settings(folder / "controller", **ports)
        initialise(self.settings, now())
        self.operator = Operator(CliSettings(folder, uplink="none", **ports))
        self.reached: dict[str, int] = {}
        self.moved = asyncio.Event()

    async def start_controller(self) -> None:
        """Start a controller that tells us how far its hosts are."""
        self.reached = {}
        self.controller = Controller(self.settings)
        seen = self.controller._liveness.seen

        def note(host_id: str, *, reached: int = 0, **rest: Any) -> None:
            seen(host_id, reached=reached, **rest)
            if reached:
                self.reached[host_id] = max(reached, self.reached.get(host_id, 0))
                self.moved.set()

        setattr(self.controller._liveness, "seen", note)  # noqa: B010 - mypy refuses to replace a method
        await self.controller.start()

    async def start_agents(self) -> list[Child]:
        """Enrol and start all agents, spread over the processes."""
        tokens = await asyncio.to_thread(lambda: [self.operator.create_token().token for _ in range(self.hosts)])
        shares = [tokens[number :: self.processes] for number in range(self.processes)]
        children = [self._agents(number, share) for number, share in enumerate(shares)]
        for child in children:
            await asyncio.to_thread(child.start)
        return children

    def _agents(self, number: int, tokens: list[str]) -> Child:
        folder = self.folder / f"agents-{number}"
        folder.mkdir()
        (folder / "tokens").write_text("".join(f"{token}\n" for token in tokens), encoding="ascii")
        command: list[str | Path] = [
            BIN / "stead-agent",
            "--log-level=warning",
            "simulate",
            f"--state-dir={folder}",
            f"--controller=127.0.0.1:{self.settings.host_port}",
            f"--enrolment=127.0.0.1:{self.settings.enrolment_port}",
            f"--ca={self.settings.state_dir / 'ca.pem'}",
            f"--token-file={folder / 'tokens'}",
            f"--hosts={len(tokens)}",
            "--cpus=1",
            f"--memory={MEMORY}",
        ]
        return Child(f"simulated agents {number}", command, folder / "agents.log")

    def wait_for_answer(self, seconds: float) -> None:
        """Wait until the API answers; for another thread, as clients are elsewhere."""
        end = time.monotonic() + seconds
        while not self._answers():
            if time.monotonic() > end:
                raise TimeoutError("the API does not answer")
            time.sleep(0.01)  # the grain of the measurement

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.settings.http_port, timeout=10)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status < 500
        except OSError:
            return False
        finally:
            connection.close()

    async def until_reached(self, revision: int, seconds: float) -> None:
        """Wait until all agents have reached a revision."""
        async with asyncio.timeout(seconds):
            while sum(reached >= revision for reached in self.reached.values()) < self.hosts:
                self.moved.clear()
                await self.moved.wait()
                await asyncio.sleep(0.005)  # the grain of the measurement: else counting them is work of its own

    async def revision(self) -> int:
        """The revision of the last change."""
        return await self.controller.database.run(revisions.current, writes=False)

    async def rows(self) -> int:
        """How many rows tell hosts anything, with those that were changed since."""
        counts = [select(func.count()).select_from(table) for table in (HostResource, VpcResource)]
        run = self.controller.database.run
        return sum([await run(lambda tx, each=each: tx.session.scalar(each) or 0, writes=False) for each in counts])

    def client(self) -> Any:
        """The first account's EC2."""
        found = json.loads((self.settings.state_dir / "credentials.json").read_text(encoding="utf-8"))
        endpoint = f"http://127.0.0.1:{self.settings.http_port}"
        account = Account(found["account_id"], found["access_key_id"], found["secret_access_key"], endpoint=endpoint)
        return account.client("ec2")


class Figures:
    """What was measured."""

    failed = False

    def add(self, name: str, value: float, limit: float, raw: str = "") -> None:
        """Print a figure and remember whether it is within its limit."""
        self.failed |= value > limit
        print(f"{'ok' if value <= limit else 'OVER':4} {name}: {value:.2f} s, limit {limit:g} s {raw}", flush=True)


def _cpu(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


class Spent:
    """The CPU seconds of the controller (with this bench and its client) and of all agents since it was made."""

    def __init__(self, agents: list[Child]) -> None:
        self._pids = [child.process.pid for child in agents if child.process is not None]
        self._controller, self._agents = _cpu(os.getpid()), sum(map(_cpu, self._pids))

    def __str__(self) -> str:
        """Say both."""
        controller, agents = self.seconds
        return f"CPU s: controller {controller:.2f}, agents {agents:.2f}"

    @property
    def seconds(self) -> tuple[float, float]:
        """Both."""
        return _cpu(os.getpid()) - self._controller, sum(map(_cpu, self._pids)) - self._agents


async def _change(fleet: Fleet, change: Callable[[], object]) -> float:
    """Make a change and give the seconds from its answer until all agents have acked it."""
    await asyncio.to_thread(change)
    began = time.perf_counter()
    await fleet.until_reached(await fleet.revision(), 120)
    return time.perf_counter() - began


async def _measure(fleet: Fleet, figures: Figures) -> None:
    await fleet.start_controller()
    began = time.perf_counter()
    agents = await fleet.start_agents()
    try:
        await fleet.until_reached(1, 600)
        print(f"     {fleet.hosts} agents enrolled and connected in {time.perf_counter() - began:.1f} s", flush=True)
        await _launch(fleet, agents)
        await _rules(fleet, agents, figures)
        await _restart(fleet, agents, figures)
    finally:
        for child in agents:
            await asyncio.to_thread(child.stop)
        await fleet.controller.stop()


async def _launch(fleet: Fleet, agents: list[Child]) -> None:
    """Put an instance on each host."""
    ec2 = fleet.client()
    image = fleet.folder / "blank.raw"
    image.write_bytes(bytes(IMAGE_BYTES))
    header = pb.ImportImageHeader(name="blank", format="raw", file_size=IMAGE_BYTES, architecture="x86_64", public=True)
    image_id = (await asyncio.to_thread(fleet.operator.import_image, header, image, lambda _: None)).image_id

    def launch() -> None:
        number = fleet.hosts
        ec2.run_instances(ImageId=image_id, InstanceType="stead.tiny", MinCount=number, MaxCount=number)

    spent, began = Spent(agents), time.perf_counter()
    seconds = await _change(fleet, launch)
    answered = time.perf_counter() - began - seconds
    await fleet.until_reached(await fleet.revision(), 300)
    print(f"     an instance on each: answered in {answered:.1f} s, acked {seconds:.1f} s later ({spent})", flush=True)
    await asyncio.sleep(REPORTED_SECONDS)  # reports of running machines are no part of what follows


async def _rules(fleet: Fleet, agents: list[Child], figures: Figures) -> None:
    """Change a rule of a group that all instances have."""
    ec2 = fleet.client()
    group = (await asyncio.to_thread(ec2.describe_security_groups))["SecurityGroups"][0]["GroupId"]
    before = await fleet.rows()
    spent, times = Spent(agents), []
    for port in range(1000, 1000 + ROUNDS):
        rule = {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}
        change = partial(ec2.authorize_security_group_ingress, GroupId=group, IpPermissions=[rule])
        times.append(await _change(fleet, change))
    assert await fleet.rows() == before
    ordered = sorted(times)
    own, theirs = (seconds / ROUNDS * 1000 for seconds in spent.seconds)
    raw = f"(min {ordered[0]:.2f}, max {ordered[-1]:.2f}; CPU ms each: controller {own:.0f}, agents {theirs:.0f})"
    figures.add(f"P11: a rule that {fleet.hosts} agents enforce, acked by all, p50", statistics.median(times), 1.0, raw)


async def _restart(fleet: Fleet, agents: list[Child], figures: Figures) -> None:
    """End the controller and start it again."""
    await fleet.controller.stop()
    gc.collect()
    gc.freeze()  # another process would begin without what the former controller and the client have left in this one
    spent, began = Spent(agents), time.perf_counter()
    answers = asyncio.create_task(asyncio.to_thread(fleet.wait_for_answer, 120))
    await fleet.start_controller()
    started = time.perf_counter() - began
    answers.add_done_callback(lambda _: figures.add("P19: the API answers again", time.perf_counter() - began, 2.0))
    await fleet.until_reached(await fleet.revision(), 120)
    raw = f"(listening after {started:.2f}; {spent})"
    took = time.perf_counter() - began
    figures.add(f"P19: {fleet.hosts} agents back and up to date after a restart", took, 2.0, raw)
    await answers
    await asyncio.sleep(STORED_SECONDS)  # what they repeat is still being stored
    print(f"     with the repetition of all statuses stored: {spent}", flush=True)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    figures = Figures()
    with tempfile.TemporaryDirectory() as folder:

        async def run() -> None:
            await _measure(Fleet(Path(folder), options.hosts, options.processes), figures)

        asyncio.run(run())
    sys.exit(figures.failed)


if __name__ == "__main__":
    main()
