"""P11 and P19 with a real controller: 1,000 simulated agents in one process, one instance on each, all in one VPC.

    python -m tests.bench.fan_out [--hosts 1000]

Prints for each figure its limit and the raw values; a figure over its limit ends with status 1. A change counts as acked
when the agent has said that it reached the change's revision. Both programs share the machine's cores.
"""

import argparse
import asyncio
import json
import os
import resource
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
from stead_controller.hosts import revisions
from stead_controller.initialise import initialise
from stead_controller.settings import Settings
from stead_proto.v1 import operator_pb2 as pb
from tests.support.clients import Account
from tests.support.processes import BIN, Child, free_ports

ROUNDS = 15
MEMORY = 200 << 20  # room for one tiny instance


class Fleet:
    """A controller in this process, and simulated agents in another; how far each agent is."""

    def __init__(self, folder: Path, hosts: int) -> None:
        http, https, host, enrolment = free_ports(4)
        self.folder, self.hosts = folder, hosts
        self.settings = Settings(
            folder / "controller", http_port=http, https_port=https, host_port=host, enrolment_port=enrolment
        )
        ports = {"http_port": http, "https_port": https, "host_port": host, "enrolment_port": enrolment}
        initialise(self.settings, now())
        self.operator = Operator(CliSettings(folder, uplink="none", **ports))
        self.reached: dict[str, int] = {}
        self.moved = asyncio.Event()

    async def start_controller(self) -> None:
        """Start a controller that tells us how far its hosts are."""
        self.reached = {}
        self.controller = Controller(self.settings)
        seen = self.controller._liveness.seen

        def note(host_id: str, *, sent: int = 0, reached: int = 0) -> None:
            seen(host_id, sent=sent, reached=reached)
            if reached:
                self.reached[host_id] = max(reached, self.reached.get(host_id, 0))
                self.moved.set()

        setattr(self.controller._liveness, "seen", note)  # noqa: B010 - mypy refuses to replace a method
        await self.controller.start()

    async def start_agents(self) -> Child:
        """Enrol and start all agents."""
        folder = self.folder / "agents"
        folder.mkdir()
        tokens = await asyncio.to_thread(lambda: [self.operator.create_token().token for _ in range(self.hosts)])
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
            f"--hosts={self.hosts}",
            "--cpus=1",
            f"--memory={MEMORY}",
        ]
        child = Child("simulated agents", command, folder / "agents.log")
        await asyncio.to_thread(child.start)
        return child

    async def until_reached(self, revision: int, seconds: float) -> None:
        """Wait until all agents have reached a revision."""
        async with asyncio.timeout(seconds):
            while sum(reached >= revision for reached in self.reached.values()) < self.hosts:
                self.moved.clear()
                await self.moved.wait()

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


def _own_cpu() -> float:
    own = resource.getrusage(resource.RUSAGE_SELF)
    return own.ru_utime + own.ru_stime


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
    assert agents.process is not None
    await fleet.until_reached(1, 600)
    print(f"     {fleet.hosts} agents enrolled and connected in {time.perf_counter() - began:.1f} s", flush=True)
    ec2 = fleet.client()
    image = fleet.folder / "blank.raw"
    image.write_bytes(bytes(64 << 20))
    header = pb.ImportImageHeader(name="blank", format="raw", file_size=64 << 20, architecture="x86_64", public=True)
    image_id = (await asyncio.to_thread(fleet.operator.import_image, header, image, lambda _: None)).image_id

    def launch() -> None:
        number = fleet.hosts
        ec2.run_instances(ImageId=image_id, InstanceType="stead.tiny", MinCount=number, MaxCount=number)

    own = _own_cpu()
    seconds = await _change(fleet, launch)
    await fleet.until_reached(await fleet.revision(), 300)
    print(
        f"     an instance on each: acked {seconds:.1f} s after the answer, {_own_cpu() - own:.1f} CPU s here",
        flush=True,
    )
    await asyncio.sleep(5)  # reports of running machines are no part of what follows
    group = (await asyncio.to_thread(ec2.describe_security_groups))["SecurityGroups"][0]["GroupId"]
    before = await fleet.rows()
    own, theirs, times = _own_cpu(), _cpu(agents.process.pid), []
    for port in range(1000, 1000 + ROUNDS):
        rule = {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}
        change = partial(ec2.authorize_security_group_ingress, GroupId=group, IpPermissions=[rule])
        times.append(await _change(fleet, change))
    assert await fleet.rows() == before
    ordered = sorted(times)
    cpu = f"CPU ms each: controller {(_own_cpu() - own) / ROUNDS * 1000:.0f}, "
    cpu += f"agents {(_cpu(agents.process.pid) - theirs) / ROUNDS * 1000:.0f}"
    raw = f"(min {ordered[0]:.2f}, max {ordered[-1]:.2f}; {cpu})"
    figures.add(f"P11: a rule that {fleet.hosts} agents enforce, acked by all, p50", statistics.median(times), 1.0, raw)
    await fleet.controller.stop()
    own, theirs = _own_cpu(), _cpu(agents.process.pid)
    began = time.perf_counter()
    await fleet.start_controller()
    await fleet.until_reached(await fleet.revision(), 120)
    raw = f"(CPU s: controller {_own_cpu() - own:.1f}, agents {_cpu(agents.process.pid) - theirs:.1f})"
    limit = max(2.0, 6 * fleet.hosts / 1000)
    figures.add(
        f"P19: {fleet.hosts} agents back and up to date after a restart", time.perf_counter() - began, limit, raw
    )
    await asyncio.to_thread(agents.stop)
    await fleet.controller.stop()


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--hosts", type=int, default=1000)
    figures = Figures()
    with tempfile.TemporaryDirectory() as folder:

        async def run() -> None:
            await _measure(Fleet(Path(folder), parser.parse_args().hosts), figures)

        asyncio.run(run())
    sys.exit(figures.failed)


if __name__ == "__main__":
    main()
