"""What it costs to choose and reserve a host: CPU milliseconds with 1,000 hosts and 10,000 volumes present.

    .venv/bin/python -m tests.bench.placement [--hosts 1000] [--volumes 10] [--times 500]

A database file as a controller has it, without a controller: hosts that are all alike, which is the worst case for an
order, each with a pool and some volumes of ten images. An explanation, which reads all hosts, is measured as well.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from stead_controller.db import migrate
from stead_controller.db.session import Database, Transaction
from stead_controller.db.tables import StoragePool, Volume
from stead_controller.placement.need import Need
from stead_controller.placement.search import Terms
from stead_controller.resources.host_capacity import capacity
from stead_controller.resources.host_capacity.volume_homes import DiskNeed
from tests.support import rows

LIMIT_MS: float = 0.6  # a tenth of what P5 lets a launch cost
ROUNDS: Final = 3
_NEED: Final = Need(1, 96 << 20)
_DISKS: Final = (DiskNeed(2, "gp3"),)
_IMAGES: Final = 10


def snapshot_id(number: int) -> str:
    """The root snapshot of one of the images."""
    return f"snap-{number % _IMAGES:017x}"


def fill(tx: Transaction, hosts: int, volumes: int) -> None:
    """Add hosts, each with so many volumes in its pool."""
    for number in range(hosts):
        host = rows.host(id=f"h-{number:017x}")
        tx.session.add(host)
        tx.session.flush()
        pool = {"name": "default", "backend": "directory", "is_default": True, "total": 1000 * rows.GIB}
        tx.session.add(StoragePool(host_id=host.id, free=0, **pool))
        for each in range(volumes):
            volume: dict[str, Any] = {"id": f"vol-{number * volumes + each:017x}", "host_id": host.id, "size": 8}
            volume |= {"account_id": "1" * 12, "zone": host.zone, "volume_type": "gp3", "state": "in-use"}
            tx.session.add(Volume(created=rows.NOW, snapshot_id=snapshot_id(each), **volume))


def reserve(tx: Transaction, times: int) -> float:
    """Reserve places and return the CPU milliseconds of each."""
    terms = Terms("stead.tiny", snapshot_id(0))
    began = time.process_time()
    for _ in range(times):
        capacity.reserve_any(tx, rows.CLOUD, _NEED, "us-east-1a", _DISKS, terms=terms)
    return (time.process_time() - began) / times * 1000


def explain(tx: Transaction) -> float:
    """Judge all hosts once and return the CPU milliseconds."""
    search = capacity.search_for(rows.CLOUD, _NEED, "us-east-1a", _DISKS, Terms("stead.tiny"))
    began = time.process_time()
    capacity.judge(tx, rows.CLOUD, search)
    return (time.process_time() - began) * 1000


def main() -> int:
    """Measure and print; 1 if the limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--volumes", type=int, default=10, help="of each host")
    parser.add_argument("--times", type=int, default=500)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{Path(folder) / 'stead.sqlite'}")
        migrate.upgrade(database.engine)
        database.run_blocking(lambda tx: fill(tx, given.hosts, given.volumes))
        cost = min(database.run_blocking(lambda tx: reserve(tx, given.times)) for _ in range(ROUNDS))
        judging = min(database.run_blocking(explain, writes=False) for _ in range(ROUNDS))
        database.close()
    well = cost <= LIMIT_MS
    print(f"{'ok' if well else 'MISSED':6} a place: {cost:.3f} CPU-ms with {given.hosts} hosts (limit {LIMIT_MS:g})")
    print(f"       an explanation: {judging:.1f} CPU-ms")
    return not well


if __name__ == "__main__":
    sys.exit(main())
