"""P5's processor time, what is RunInstances' own: one process, no hosts behind it, a real database on disk.

    python -m tests.bench.launch_cost [--rounds 20] [--launches 20] [--hosts 200] [--profile FILE]

Prints, singly and by 50, the CPU ms of one launch (least and median of the rounds) and how many SQL statements it is;
then what a launch's report costs, when its host says that its volume and its machine are as they must be. What is sent
to hosts, TLS and HTTP are not in it: `launch_rate` has all of them. With a file, cProfile's figures of it all go there.
"""

import argparse
import asyncio
import cProfile
import gc
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import event, select

from stead_controller.aws import operations
from stead_controller.aws.app import AwsApp
from stead_controller.aws.authenticate import by_opened_keys
from stead_controller.aws.authorization.authorizer import PolicyAuthorizer
from stead_controller.db import migrate
from stead_controller.db.session import Database, Transaction
from stead_controller.db.tables import HostResource
from stead_controller.hosts import reports
from stead_controller.resources import quotas
from stead_controller.resources.iam.key_cache import KeyCache
from stead_controller.resources.iam.policies_of_caller import policies_of
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb
from tests.bench.tenant_timing import SECRET, signed
from tests.support import rows
from tests.support.launch_calls import launch_request

AT_ONCE = 50


class Here:
    """Transactions in the calling thread, where they can be measured and profiled."""

    def __init__(self, database: Database) -> None:
        self._run = database.run_blocking

    async def run[T](
        self,
        function: Callable[[Transaction], T],
        *,
        writes: bool = True,
        dry_run: bool = False,
        within: float = 0,
    ) -> T:
        """Run a function in a transaction."""
        return self._run(function, writes=writes, dry_run=dry_run)


class Bench:
    """An account that launches on some hosts."""

    def __init__(self, database: Database, hosts: int) -> None:
        self.database = database
        self.statements = 0
        self._loop = asyncio.new_event_loop()
        self._world = database.run_blocking(lambda tx: self.build(tx, hosts))
        keys = KeyCache(database, self._world.cloud.sealer)
        self._app = AwsApp(
            transactions=Here(database),
            find_key=by_opened_keys(keys.find),
            cloud=self._world.cloud,
            page_key=b"page key",
            authorizer=PolicyAuthorizer(policies_of),
            clock=lambda: datetime.now(UTC),
        )
        event.listen(database.engine, "before_cursor_execute", self._count)

    @staticmethod
    def build(tx: Transaction, hosts: int) -> rows.World:
        """Add an account that may launch, and hosts with room."""
        world = rows.build_world(tx)
        tx.session.add(rows.access_key(world.one.caller, SECRET))
        tx.session.add_all([rows.host(memory_free=rows.GIB << 12, cpus_free=1 << 20) for _ in range(hosts)])
        quotas.set_value(tx, quotas.EVERYONE, quotas.STANDARD_VCPUS, 10**9)
        return world

    def _count(self, *_: Any) -> None:
        self.statements += 1

    def launch(self, count: int) -> float:
        """Launch so many at once; give the seconds of processor time."""
        request = signed(launch_request(self._world.image_id, count), self._world.one.caller.access_key_id)
        began = time.process_time()
        answer = self._loop.run_until_complete(self._app.handle(request))
        spent = time.process_time() - began
        assert answer.status == 200, answer.body
        return spent

    def report(self) -> tuple[int, float]:
        """Let hosts report all that was launched, a transaction for each machine; give how many, and the seconds."""
        outcomes = self.database.run_blocking(self.reports)
        began = time.process_time()
        for host_id, statuses in outcomes:
            self.database.run_blocking(partial(_apply, host_id, statuses))
        return len(outcomes), time.process_time() - began

    @staticmethod
    def reports(tx: Transaction) -> list[tuple[str, list[pb.ResourceStatus]]]:
        """Make what hosts say of all machines: their ids, and that volumes and machine are as they must be."""
        machines = tx.session.scalars(select(HostResource).where(HostResource.kind == desired.KIND_MACHINE)).all()
        found = []
        for row in machines:
            machine = desired.Resource.FromString(row.body or b"").machine
            volumes = [disk.volume_id for disk in machine.disks]
            running = pb.MachineStatus(power=pb.MACHINE_POWER_RUNNING, start_count=1, volume_ids=volumes)
            found.append(
                (
                    row.host_id,
                    [
                        *(_ready(desired.KIND_VOLUME, volume_id, row.revision) for volume_id in volumes),
                        _ready(desired.KIND_MACHINE, row.resource_id, row.revision, machine=running),
                    ],
                )
            )
        return found


def _apply(host_id: str, statuses: list[pb.ResourceStatus], tx: Transaction) -> None:
    reports.apply_progress(tx, [(host_id, statuses)], datetime.now(UTC))


def _ready(kind: desired.Kind.ValueType, resource_id: str, revision: int, **body: Any) -> pb.ResourceStatus:
    return pb.ResourceStatus(kind=kind, id=resource_id, revision=revision, condition=pb.CONDITION_READY, **body)


def _say(name: str, times: list[float], statements: float) -> None:
    least, median = min(times) * 1000, statistics.median(times) * 1000
    print(f"{name}: CPU {least:.2f} ms least, {median:.2f} median, {statements:.1f} statements", flush=True)


def _measure(bench: Bench, rounds: int, launches: int) -> None:
    for _ in range(5):
        bench.launch(1)  # what is compiled at the first of a kind
    for name, count, calls in (("singly", 1, launches), (f"by {AT_ONCE}", AT_ONCE, 1)):
        before, times = bench.statements, []
        for _ in range(rounds):
            gc.collect()
            times.append(sum(bench.launch(count) for _ in range(calls)) / (calls * count))
        _say(name, times, (bench.statements - before) / (rounds * calls * count))
    before = bench.statements
    count, seconds = bench.report()
    _say("a report", [seconds / count], (bench.statements - before) / count)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--launches", type=int, default=20)
    parser.add_argument("--hosts", type=int, default=200)
    parser.add_argument("--profile", type=Path)
    asked = parser.parse_args()
    operations.load()
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{Path(folder) / 'stead.sqlite'}")
        migrate.upgrade(database.engine)
        bench = Bench(database, asked.hosts)
        profile = cProfile.Profile() if asked.profile else None
        with profile or nullcontext():
            _measure(bench, asked.rounds, asked.launches)
        if profile is not None:
            profile.dump_stats(asked.profile)
        database.close()


if __name__ == "__main__":
    main()
