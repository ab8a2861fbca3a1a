"""P7: DescribeInstances of 1,000 instances, server time and boto3 end to end, against moto_server in the same run.

    .venv/bin/python -m tests.bench.describe [--rounds 7]
    .venv/bin/python -m tests.bench.describe --pages 25     # P8: 25,000 instances, all pages

A real controller serves a database with 1,000 running instances (rows as a launch leaves them; no hosts are needed to
describe them); moto_server has 1,000 of its own. The calls alternate. Server time is what the controller's own
record of each call says, from the request's last byte to the answer's first.

P8 is from the first page's request to the last page's last byte; boto3, which mostly parses, is printed beside.
"""

import argparse
import asyncio
import gc
import http.client
import json
import multiprocessing
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from stead_controller.aws import app as aws_app
from stead_controller.clock import now
from stead_controller.controller import Controller
from stead_controller.db.session import Transaction
from stead_controller.initialise import initialise
from stead_controller.settings import Settings
from tests.support import rows
from tests.support.processes import free_ports
from tests.support.waiting import wait_for

COUNT = 1000
SERVER_LIMIT = 0.140
RATIO_LIMIT = 0.30
PAGES_LIMIT = 0.4 * 11.8  # seconds, of 25 pages


def main() -> int:
    """Measure, print the raw values, the figures and their limits; 1 when a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--pages", type=int, default=0, help="of 1,000 instances, for P8 instead of P7")
    options = parser.parse_args()
    return _measure_pages(options.pages) if options.pages else _measure(options.rounds)


def _measure(rounds: int) -> int:
    with tempfile.TemporaryDirectory() as folder, _stead(Path(folder)) as (stead, seconds), _moto() as moto:
        ours, theirs = [], []
        for number in range(rounds + 1):
            mine, server_seconds, peers = _timed(stead), seconds.take(), _timed(moto)
            if number == 0:
                seconds.clear()
                continue  # each side's first answer compiles and connects
            ours.append(mine)
            theirs.append(peers)
            print(f"round {number}: Stead {mine:.3f} s (server {server_seconds:.3f} s), moto_server {peers:.3f} s")
    server = statistics.median(seconds)
    ratio = statistics.median(ours) / statistics.median(theirs)
    print(f"P7 server: {server * 1000:.0f} ms (limit {SERVER_LIMIT * 1000:.0f})  {_verdict(server <= SERVER_LIMIT)}")
    print(f"P7 end to end: {ratio:.3f} x moto_server (limit {RATIO_LIMIT})  {_verdict(ratio <= RATIO_LIMIT)}")
    return 0 if server <= SERVER_LIMIT and ratio <= RATIO_LIMIT else 1


def _measure_pages(pages: int) -> int:
    count = pages * COUNT
    with tempfile.TemporaryDirectory() as folder, _stead(Path(folder), count) as (stead, _):
        whole = []
        for number in range(4):
            begin = time.perf_counter()
            found = _read_pages(stead)
            taken = time.perf_counter() - begin
            if found != count:
                raise SystemExit(f"{found} instances instead of {count}")
            if number:  # the first answer compiles
                whole.append(taken)
                print(f"round {number}: {taken:.2f} s")
        begin = time.perf_counter()
        for _ in stead.get_paginator("describe_instances").paginate(PaginationConfig={"PageSize": COUNT}):
            pass
        by_boto3 = time.perf_counter() - begin
    seconds = statistics.median(whole)
    limit = PAGES_LIMIT * pages / 25
    print(f"P8 all pages of {count}: {seconds:.2f} s (limit {limit:.2f})  {_verdict(seconds <= limit)}")
    print(f"   by boto3, with its parsing: {by_boto3:.2f} s")
    return 0 if seconds <= limit else 1


def _read_pages(stead: Any) -> int:
    """Read all pages as they come, without parsing; give the number of instances in them."""
    where = urlsplit(stead.meta.endpoint_url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=60)
    key = stead._request_signer._credentials
    found, token = 0, ""
    while True:
        fields = {"Action": "DescribeInstances", "Version": "2016-11-15", "MaxResults": str(COUNT)}
        body = urlencode(fields | ({"NextToken": token} if token else {}))
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Host": where.netloc}
        request = AWSRequest(method="POST", url=f"{stead.meta.endpoint_url}/", data=body, headers=headers)
        SigV4Auth(key, "ec2", stead.meta.region_name).add_auth(request)
        connection.request("POST", "/", body, dict(request.headers.items()))
        content = connection.getresponse().read()
        found += content.count(b"<instanceId>")
        next_token = re.search(rb"<nextToken>([^<]+)</nextToken>", content)
        if next_token is None:
            connection.close()
            return found
        token = next_token[1].decode()


def _verdict(well: bool) -> str:
    return "ok" if well else "MISSED"


def _timed(ec2: Any) -> float:
    gc.collect()  # what the other side's answer has left is not cleared away in this one's time
    begin = time.perf_counter()
    answer = ec2.describe_instances()
    seconds = time.perf_counter() - begin
    found = sum(len(reservation["Instances"]) for reservation in answer["Reservations"])
    if found != COUNT:
        raise SystemExit(f"{found} instances instead of {COUNT}")
    return seconds


@contextmanager
def _stead(folder: Path, count: int = COUNT) -> "Iterator[tuple[Any, _Seconds]]":
    """A controller in a process of its own, as moto_server has one; gives a client, and the list of its calls' seconds."""
    names = ("http_port", "https_port", "host_port", "enrolment_port", "endpoint_port")
    ports = free_ports(len(names))
    settings = Settings(folder, **dict(zip(names, ports, strict=True)))
    context = multiprocessing.get_context("spawn")
    results, ready = context.SimpleQueue(), context.Event()
    process = context.Process(target=_serve, args=(settings, results, ready, count))
    process.start()
    try:
        if not ready.wait(120 + count / 20):
            raise SystemExit("the controller did not start")
        key = json.loads((folder / "credentials.json").read_text())
        yield _client(f"http://127.0.0.1:{ports[0]}", key["access_key_id"], key["secret_access_key"]), _Seconds(results)
    finally:
        process.kill()
        process.join()


class _Seconds(list[float]):
    """The server's seconds of each call, taken from its process when they are looked at."""

    def __init__(self, results: Any) -> None:
        super().__init__()
        self._results = results

    def take(self) -> float:
        """Wait for the next call's seconds, keep and give them."""
        self.append(self._results.get())
        return self[-1]


def _serve(settings: Settings, results: Any, ready: Any, count: int) -> None:
    initialise(settings, now())
    key = json.loads((settings.state_dir / "credentials.json").read_text())
    original = aws_app.AwsApp._record

    async def record(self: Any, exchange: Any, response: Any, error: Any, taken: float) -> None:
        results.put(taken)
        await original(self, exchange, response, error, taken)

    aws_app.AwsApp._record = record  # type: ignore[method-assign]  # the measurement listens in

    async def serve() -> None:
        await _start(settings, key["account_id"], count)
        ready.set()
        await asyncio.Event().wait()

    asyncio.run(serve())


async def _start(settings: Settings, account_id: str, count: int) -> Controller:
    controller = Controller(settings)
    await controller.start()
    await controller.database.run(lambda tx: _fill(tx, account_id, count))
    return controller


def _fill(tx: Transaction, account_id: str, count: int) -> None:
    world = rows.build_world(tx)
    tenant = world.one
    tenant = rows.Tenant(rows.caller(account_id), tenant.vpc_id, tenant.subnet_ids, tenant.group_id)
    for number in range(count):
        address = f"198.18.{number // 250}.{number % 250 + 4}"
        tags = {"team": "bench"}  # as moto's have
        rows.launch(tx, world, tenant, number=number, public_address=address, tags=tags)


@contextmanager
def _moto() -> Iterator[Any]:
    [port] = free_ports(1)
    program = Path(sys.executable).parent / "moto_server"
    process = subprocess.Popen(
        [program, "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: _listens(port), "moto_server listens", 60)
        client = _client(f"http://127.0.0.1:{port}", "testing", "testing")
        image = client.describe_images()["Images"][0]["ImageId"]
        tags = [{"ResourceType": "instance", "Tags": [{"Key": "team", "Value": "bench"}]}]
        client.run_instances(ImageId=image, MinCount=COUNT, MaxCount=COUNT, TagSpecifications=tags)
        yield client
    finally:
        process.kill()
        process.wait()


def _client(endpoint: str, key: str, secret: str) -> Any:
    return boto3.client(
        "ec2", endpoint_url=endpoint, aws_access_key_id=key, aws_secret_access_key=secret, region_name="us-east-1"
    )


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    sys.exit(main())
