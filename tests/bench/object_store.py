"""The object store's endpoint beside SeaweedFS itself: throughput, small objects, and how much memory a body costs.

Run: python -m tests.bench.object_store [--rounds 3]. A controller of its own with the server that it starts, and a second SeaweedFS
with the same options that the client speaks to directly. Budget: a controller's memory grows by at most 32 MiB by a body
of 1 GiB, whichever way it goes; SeaweedFS stays below 300 MiB.
"""

import argparse
import contextlib
import http.client
import json
import os
import re
import signal
import statistics
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from stead_controller.object_store.embedded import ENVIRONMENT, OPTIONS, PROCESS_FILE
from stead_proto import alone
from tests.support.clients import Account
from tests.support.processes import BIN, Child, free_ports
from tests.support.waiting import wait_for

LARGE = 1 << 30
PIECE = bytes(1 << 20)
SMALL = 200
GROWTH = 32 << 20
WEED = 300 << 20


def memory(process: int, field: str) -> int:
    """Bytes of VmRSS or VmHWM."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found
    return int(found[1]) * 1024


def put(url: str, pieces: int) -> float:
    """Upload by a presigned URL; seconds."""
    where = urllib.parse.urlsplit(url)
    with contextlib.closing(http.client.HTTPConnection(where.hostname or "", where.port, timeout=300)) as connection:
        start = time.perf_counter()
        headers = {"Content-Length": str(pieces * len(PIECE))}
        connection.request("PUT", f"{where.path}?{where.query}", iter([PIECE] * pieces), headers)
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        return time.perf_counter() - start


def get(url: str, size: int) -> float:
    """Download by a presigned URL; seconds."""
    where = urllib.parse.urlsplit(url)
    with contextlib.closing(http.client.HTTPConnection(where.hostname or "", where.port, timeout=300)) as connection:
        start = time.perf_counter()
        connection.request("GET", f"{where.path}?{where.query}")
        answer = connection.getresponse()
        found = 0
        while piece := answer.read(1 << 20):
            found += len(piece)
        assert (answer.status, found) == (200, size)
        return time.perf_counter() - start


def measure(name: str, account: Account, rounds: int) -> None:
    """Print what one endpoint does."""
    s3 = account.client("s3", signature_version="s3v4", s3={"addressing_style": "path"})
    for operation, run in (("put", put), ("get", get)):
        url = s3.generate_presigned_url(f"{operation}_object", Params={"Bucket": "bench", "Key": "large"})
        took = [run(url, LARGE >> 20) if run is put else run(url, LARGE) for _ in range(rounds)]
        rates = " ".join(f"{LARGE / seconds / 1e6:.0f}" for seconds in took)
        print(f"{name}: {operation} of 1 GiB: {rates} MB/s")

    def put_small() -> None:
        s3.put_object(Bucket="bench", Key="small", Body=b"x" * 1000)

    def get_small() -> None:
        s3.get_object(Bucket="bench", Key="small")["Body"].read()

    for small in (put_small, get_small):
        times = []
        for _ in range(SMALL):
            start = time.perf_counter()
            small()
            times.append(time.perf_counter() - start)
        print(
            f"{name}: {small.__name__.removesuffix('_small')} of 1,000 bytes: {statistics.median(times) * 1e3:.1f} ms (median of {SMALL})"
        )


@contextlib.contextmanager
def controller(folder: Path) -> Iterator[tuple[Account, int]]:
    """A running controller: its first account, and its process."""
    ports = free_ports(5)
    names = ("http", "https", "host", "enrolment", "endpoint")
    options = [f"--{name}-port={port}" for name, port in zip(names, ports, strict=True)]
    child = Child("controller", [BIN / "stead-controller", "run", f"--state-dir={folder}", *options], folder / "log")
    child.start()
    try:
        wait_for(lambda: b"controller_started" in child.log.read_bytes(), "the controller runs", 60)
        key = json.loads((folder / "credentials.json").read_text())
        serving = alone.holder(folder / alone.SERVING_FILE_NAME)
        assert serving is not None
        endpoint = f"http://127.0.0.1:{ports[0]}"
        yield Account(key["account_id"], key["access_key_id"], key["secret_access_key"], endpoint), serving
    finally:
        child.stop()
        if (folder / "object-store" / PROCESS_FILE).exists():
            os.kill(weed_of(folder), signal.SIGKILL)


def weed_of(folder: Path) -> int:
    """The process of the server that a controller has started."""
    return int((folder / "object-store" / PROCESS_FILE).read_text().split()[0])


@contextlib.contextmanager
def bare(folder: Path, identities: Path) -> Iterator[Account]:
    """A SeaweedFS with the options of ours, which anybody on this machine reaches."""
    port, master, volume, filer, *more = free_ports(8)
    own = {"-s3.port": port, "-master.port": master, "-volume.port": volume, "-filer.port": filer}
    grpc = dict(zip(("-s3.port.grpc", "-master.port.grpc", "-volume.port.grpc", "-filer.port.grpc"), more, strict=True))
    remaining = [option for option in OPTIONS if option.split("=")[0] not in own and "localSocket" not in option]
    command = [BIN / "weed", "server", *remaining, *(f"{name}={value}" for name, value in {**own, **grpc}.items())]
    command.append(f"-s3.localSocket={folder / 's3.sock'}")
    (folder / "data").mkdir()
    (folder / "identities.json").write_text(identities.read_text())
    child = Child("weed", ["env", f"--chdir={folder}", *command], folder / "log", ENVIRONMENT)
    child.start()
    [identity] = json.loads(identities.read_text())["identities"]
    [key] = identity["credentials"]
    try:
        account = Account("", key["accessKey"], key["secretKey"], f"http://127.0.0.1:{port}")

        def ready() -> bool:
            try:
                account.client("s3").create_bucket(Bucket="bench")
            except (BotoCoreError, ClientError):
                return False
            return True

        wait_for(ready, "SeaweedFS makes a bucket", 60)
        yield account
    finally:
        child.kill()
        for left in Path("/tmp").glob("seaweedfs-*.sock"):
            if left.stem.rpartition("-")[2] in map(str, (port, master, volume, filer, *more)):
                left.unlink()


def main() -> int:
    """Measure both, one after the other, and the memory of ours."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        ours, theirs = Path(name) / "ours", Path(name) / "theirs"
        ours.mkdir()
        theirs.mkdir()
        with controller(ours) as (account, process):
            account.client("s3", read_timeout=90).create_bucket(Bucket="bench")
            before = memory(process, "VmRSS")
            idle = memory(weed_of(ours), "VmRSS")
            with bare(theirs, ours / "object-store" / "identities.json") as direct:
                measure("SeaweedFS ", direct, rounds)
            measure("endpoint", account, rounds)
            growth = memory(process, "VmHWM") - before
            weed = memory(weed_of(ours), "VmHWM")
    print(f"controller grew by {growth / 2**20:.0f} MiB (limit {GROWTH >> 20}) from {before / 2**20:.0f} MiB")
    print(f"SeaweedFS: {idle / 2**20:.0f} MiB idle, at most {weed / 2**20:.0f} MiB (limit {WEED >> 20})")
    return 0 if growth <= GROWTH and weed <= WEED else 1


if __name__ == "__main__":
    sys.exit(main())
