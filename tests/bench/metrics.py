"""What metrics cost: ingest of 1,000 instances at 10 s, the engine's memory, and reading 30 days over 100 instances.

    .venv/bin/python -m tests.bench.metrics [--instances 1000] [--rounds 30] [--days 30]

Each host's message goes through the controller's intake, from its bytes on, into a real VictoriaMetrics; counted is the
processor time of this process and of the engine. Rounds follow each other without a pause, with times ten seconds apart;
what the engine costs while nothing comes is measured after them, and added. Then all hosts tell of minutes as they do in
life, some at a time and with nothing known of owners: with alarms and status checks. Then other instances get days of data with
a datum each five minutes, and the average of each hour of all is read as GetMetricData would, in one question.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from itertools import batched
from pathlib import Path
from typing import Final

from sqlalchemy import select

from stead_controller import clock
from stead_controller.db.session import Database, Transaction
from stead_controller.db.tables import Volume
from stead_controller.hosts import status_checks
from stead_controller.hosts.measurements import MeasurementIntake
from stead_controller.metrics.datum import Identity, Store, Wanted, single
from stead_controller.metrics.engine_store import EngineStore
from stead_controller.workflows.alarms import Alarms, WatchedStore
from stead_proto.v1 import host_pb2 as pb
from tests.support import empty_database, metrics, rows

LIMIT_PERCENT: float = 5
LIMIT_MIB: float = 80
LIMIT_MS: float = 300
IDLE_SECONDS: float = 10
READ: int = 100
_PER_HOST: Final = 10
_EACH: Final = 10  # seconds
_HOUR: Final = 3600
_READINGS: Final = 7
_MINUTES: Final = 3
_TELL_AT_ONCE: Final = 20  # hosts: with 1,000 of them, as many as tell within a second
_OF_MACHINE: Final = tuple(range(pb.METRIC_PROCESSORS, pb.METRIC_READ_SECONDS))
_OF_VOLUME: Final = (*range(pb.METRIC_READ_BYTES, pb.METRIC_CREDITS_SPENT), pb.METRIC_QUEUE_LENGTH)
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def processor_seconds(process: int) -> float:
    """What a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident(process: int) -> float:
    """The resident memory of a process that is its own, and all of it, in MiB."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
    return int(status["VmRSS"].split()[0]) / 1024


def launch(database: Database, world: rows.World, count: int) -> dict[str, list[tuple[str, str]]]:
    """Add instances, each with a volume, ten on a host; give their ids by host."""
    placed: dict[str, list[tuple[str, str]]] = {}
    for first in range(0, count, _PER_HOST):

        def add(tx: Transaction, first: int = first) -> None:
            host = rows.host()
            tx.session.add(host)
            tx.session.flush()
            for number in range(first, min(count, first + _PER_HOST)):
                instance = rows.launch(tx, world, world.one, number=number, host_id=host.id)
                instance.state = "running"
                tx.session.flush()
                volume = tx.session.scalars(select(Volume).where(Volume.instance_id == instance.id)).one()
                volume.attached_host_id = host.id
                placed.setdefault(host.id, []).append((instance.id, volume.id))

        database.run_blocking(add)
    return placed


def message(guests: list[tuple[str, str]], at: int, number: int) -> bytes:
    """What a host sends of its guests."""
    made = pb.Measurements(number=number)
    for instance_id, volume_id in guests:
        for name, kinds in ((instance_id, _OF_MACHINE), (volume_id, _OF_VOLUME)):
            made.measured.add(id=name, at=at, metrics=kinds, values=[(at // 1000 * kind) % 9973 / 7 for kind in kinds])
    return made.SerializeToString()


async def ingest(
    intake: MeasurementIntake, placed: dict[str, list[tuple[str, str]]], rounds: int, engine: int
) -> tuple[float, float]:
    """Bring all hosts' messages round after round; give processor seconds of a round, here and in the engine."""
    now = int(time.time()) // _EACH * _EACH
    here, there = 0.0, 0.0
    for number in range(rounds + 1):  # the first one makes the series, and does not count
        at = (now - (rounds - number) * _EACH) * 1000
        bodies = {host_id: message(guests, at, number) for host_id, guests in placed.items()}
        if number == 1:
            await asyncio.sleep(min(2.0, IDLE_SECONDS))  # until the engine has written the new series
            here = there = 0.0
            engine_before = processor_seconds(engine)
        began = time.process_time()
        for host_id, body in bodies.items():
            assert await intake.take(host_id, pb.Measurements.FromString(body))
        here += time.process_time() - began
    await asyncio.sleep(min(5.0, IDLE_SECONDS))  # what it has in memory is written, and merged
    there = processor_seconds(engine) - engine_before
    return here / rounds, there / rounds


async def minute(
    database: Database, store: Store, world: rows.World, placed: dict[str, list[tuple[str, str]]], at: int
) -> float:
    """Let all hosts tell of a minute, some of them at a time; give the processor seconds of this process."""
    watched = WatchedStore(store)
    alarms = Alarms(database, watched, world.cloud, clock.now)
    watched.watch(alarms)
    intake = MeasurementIntake(database, watched, clock.now)
    bodies = [(host_id, message(guests, at, at)) for host_id, guests in placed.items()]
    began = time.process_time()
    for some in batched(bodies, _TELL_AT_ONCE):
        told = (intake.take(host_id, pb.Measurements.FromString(body)) for host_id, body in some)
        assert all(await asyncio.gather(*told))
        await alarms.run()
    await status_checks.write(database, watched, clock.now)
    return time.process_time() - began


async def read_days(store: EngineStore, days: int, engine: int) -> tuple[list[float], float]:
    """Write days of instances and read them; give the milliseconds of each reading, and of processors on average."""
    end = int(time.time()) // _HOUR * _HOUR * 1000
    start = end - days * 24 * _HOUR * 1000
    metrics_ = [
        Identity("1" * 12, "AWS/EC2", "CPUUtilization", (("InstanceId", f"i-{each:017x}"),)) for each in range(READ)
    ]
    for one in metrics_:
        await store.write([single(one, at, "Percent", at // 1000 % 997 / 10) for at in range(start, end, 300_000)])
    wanted = [Wanted(one, "Average", start, end, _HOUR) for one in metrics_]
    taken = []
    used = time.process_time() + processor_seconds(engine)
    for _ in range(_READINGS):
        began = time.perf_counter()
        found = await store.read(wanted)
        taken.append((time.perf_counter() - began) * 1000)
        assert [len(each.points) for [each] in found] == [days * 24] * READ
    used = time.process_time() + processor_seconds(engine) - used
    return taken, 1000 * used / _READINGS


async def measure(folder: Path, arguments: argparse.Namespace) -> bool:
    """Measure all, print, and tell whether the limits hold."""
    database = Database(f"sqlite:///{empty_database.write(folder / 'stead.sqlite')}")
    world: rows.World = database.run_blocking(rows.build_world)
    placed = launch(database, world, arguments.instances)
    store = metrics.store_on(folder / "metrics")
    await store.read([Wanted(Identity("1", "n", "m"), "Sum", 0, 60_000, 60)])
    engine = metrics.process_in(folder / "metrics")
    intake = MeasurementIntake(database, store, clock.now)
    here, there = await ingest(intake, placed, arguments.rounds, engine)
    before = processor_seconds(engine)
    await asyncio.sleep(IDLE_SECONDS)  # what it uses meanwhile is measured
    idle = (processor_seconds(engine) - before) / IDLE_SECONDS
    share = 100 * ((here + there) / _EACH + idle)
    size = resident(engine)
    values = arguments.instances * (len(_OF_MACHINE) + len(_OF_VOLUME))
    print(f"{arguments.instances} instances, {values} values each {_EACH} s:")
    print(f"  controller {1000 * here:.0f} ms, engine {1000 * there:.0f} ms, idle engine {100 * idle:.2f} %")
    print(
        f"  together {share:.1f} % of a processor (at most {LIMIT_PERCENT:g}); engine {size:.0f} MiB (at most {LIMIT_MIB:g})"
    )
    now = int(time.time()) // 60 * 60_000
    minutes = [await minute(database, store, world, placed, now - 60_000 * each) for each in range(_MINUTES, 0, -1)]
    print(f"a minute of all, with alarms and status checks: controller {1000 * statistics.median(minutes):.0f} ms")
    taken, used = await read_days(store, arguments.days, engine)
    print(f"{arguments.days} days of {READ} instances, by hours: {min(taken):.0f} to {max(taken):.0f} ms,", end=" ")
    print(
        f"median {statistics.median(taken):.0f} (at most {LIMIT_MS:g}), of processors {used:.0f} ms; engine then {resident(engine):.0f} MiB"
    )
    await store.close()
    database.close()
    return share <= LIMIT_PERCENT and size <= LIMIT_MIB and statistics.median(taken) <= LIMIT_MS


def main() -> int:
    """Measure and print; 1 if a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--days", type=int, default=30)
    arguments = parser.parse_args()
    print(f"{datetime.now(UTC):%Y-%m-%d}, load {os.getloadavg()[0]:.0f}")
    with tempfile.TemporaryDirectory(prefix="stead-metrics-") as name:
        folder = Path(name)
        try:
            return 0 if asyncio.run(measure(folder, arguments)) else 1
        finally:
            metrics.kill(folder / "metrics")


if __name__ == "__main__":
    sys.exit(main())
