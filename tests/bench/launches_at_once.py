"""Launches at the same moment by several processes on one PostgreSQL: how many fail, how many a second, processor time.

    python -m tests.bench.launches_at_once [--launches 1000] [--at-once 200] [--processes 2] [--hosts 50] [--sqlite]

Each process has a controller's engine, threads and AWS API, and all launch in one VPC of one account, so that every
launch wants what each other one wants: the revision, hosts' room, the quota, addresses. What is sent to hosts, TLS and
HTTP are not in it. The server is the session's own (`tests/support/postgresql.py`), whose processor time is told apart;
with `--sqlite` it is one process with a file, to compare.
"""

import argparse
import asyncio
import multiprocessing
import resource
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime
from http import HTTPStatus
from multiprocessing.synchronize import Barrier
from pathlib import Path

from stead_controller.aws import operations
from stead_controller.aws.app import AwsApp
from stead_controller.aws.authenticate import by_opened_keys
from stead_controller.aws.authorization.authorizer import PolicyAuthorizer
from stead_controller.db.schema import bring_up_to_date
from stead_controller.db.session import Database
from stead_controller.resources.iam.key_cache import KeyCache
from stead_controller.resources.iam.policies_of_caller import policies_of
from tests.bench.launch_cost import Bench
from tests.bench.tenant_timing import signed
from tests.support import rows
from tests.support.launch_calls import launch_request
from tests.support.postgresql import PostgresqlServer

START_SECONDS = 60


def app_on(database: Database, world: rows.World) -> AwsApp:
    """Give the AWS API of a controller on a database."""
    return AwsApp(
        transactions=database,
        find_key=by_opened_keys(KeyCache(database, world.cloud.sealer).find),
        cloud=world.cloud,
        page_key=b"page key",
        authorizer=PolicyAuthorizer(policies_of),
        clock=lambda: datetime.now(UTC),
    )


async def launch(app: AwsApp, world: rows.World, count: int, at_once: int) -> Counter[int]:
    """Launch so many, at most so many at the same moment; give how many were answered with each status."""
    body, free = launch_request(world.image_id, 1), asyncio.Semaphore(at_once)

    async def one() -> int:
        async with free:
            return (await app.handle(signed(body, world.one.caller.access_key_id))).status

    return Counter(await asyncio.gather(*(one() for _ in range(count))))


def _work(url: str, world: rows.World, count: int, at_once: int, ready: Barrier) -> Counter[int]:
    database = Database(url)
    app = app_on(database, world)

    async def all_of_them() -> Counter[int]:
        await launch(app, world, 1, 1)  # what is compiled at the first of a kind
        ready.wait(START_SECONDS)
        return await launch(app, world, count, at_once)

    try:
        return asyncio.run(all_of_them())
    finally:
        database.close()


def prepared(url: str, hosts: int) -> rows.World:
    """Make the tables of a database, if it is empty, and add an account that may launch, and hosts."""
    database = Database(url)
    bring_up_to_date(database.engine)
    try:
        return database.run_blocking(lambda tx: Bench.build(tx, hosts))
    finally:
        database.close()


def _measure(url: str, asked: argparse.Namespace, processes: int) -> int:
    world = prepared(url, asked.hosts)
    fork = multiprocessing.get_context("fork")
    ready, answers = fork.Barrier(processes + 1), fork.SimpleQueue()
    count, at_once = asked.launches // processes, asked.at_once // processes
    workers = [
        fork.Process(target=lambda: answers.put(_work(url, world, count, at_once, ready))) for _ in range(processes)
    ]
    for each in workers:
        each.start()
    ready.wait(START_SECONDS)
    began = time.monotonic()
    statuses: Counter[int] = sum((answers.get() for _ in workers), Counter())
    seconds = time.monotonic() - began
    for each in workers:
        each.join()
    well, spent = statuses[HTTPStatus.OK], resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"{processes} processes, {statuses.total()} launches, {asked.at_once} at once: {statuses.total() - well} failed; "
        f"{seconds:.1f} s, {well / seconds:.1f}/s; CPU {(spent.ru_utime + spent.ru_stime) / well * 1000:.2f} ms each",
        flush=True,
    )
    return statuses.total() - well


def main() -> int:
    """Measure; 1 when any launch failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--launches", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=200)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--hosts", type=int, default=50)
    parser.add_argument("--sqlite", action="store_true")
    asked = parser.parse_args()
    operations.load()
    with ExitStack() as after:
        if asked.sqlite:
            folder = Path(after.enter_context(tempfile.TemporaryDirectory()))
            return int(_measure(f"sqlite:///{folder / 'stead.sqlite'}", asked, 1) > 0)
        server = PostgresqlServer()
        after.callback(server.stop)
        server.start()
        failed = _measure(server.new_database(), asked, asked.processes)
        print(f"CPU of the server: {server.cpu_seconds() / asked.launches * 1000:.2f} ms each", flush=True)
        return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
