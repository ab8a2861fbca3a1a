"""Check that a cloud with simulated hosts left nothing: on its hosts, in reserved capacity, and in its database."""

import contextlib
import sqlite3
from functools import partial
from pathlib import Path
from typing import Final

from stead_proto.v1 import desired_pb2 as pb
from tests.support.cloud import Cloud
from tests.support.waiting import wait_for

_PATIENCE: Final = 40.0
_OF_A_HOST: Final = f"{pb.KIND_HOST_NETWORK}, {pb.KIND_BASE}"


def nothing_remains(cloud: Cloud) -> None:
    """Fail unless all instances are terminated and all else is removed; stops the controller to inspect its database.

    What may stay: released public addresses until their reuse, images' bases on hosts, and what was there before.
    """
    for host_id in cloud.let_happen(do="hosts")["hosts"]:
        wait_for(partial(_is_bare, cloud, host_id), f"nothing is left on {host_id}", _PATIENCE)
        assert cloud.let_happen(do="remains", host=host_id)["violations"] == []
    # The host has removed it, and the controller hears of that a moment later.
    wait_for(lambda: not _promised(cloud), "nothing is promised", _PATIENCE, explain=lambda: str(_promised(cloud)))
    # A step of a controller that was killed is resumed when its lease of half a minute has expired.
    wait_for(partial(_has_no_workflow, cloud), "no workflow is left", _PATIENCE)
    cloud.controller.stop()
    assert rows_left(cloud.settings.controller_dir) == []


def rows_left(controller_dir: Path) -> list[str]:
    """List the rows of a controller's database about resources that should be gone, and damage to the file."""
    found = []
    with contextlib.closing(sqlite3.connect(controller_dir / "stead.sqlite")) as database:
        for rows in (
            "volumes",
            "network_interfaces",
            "workflows",
            "host_errors",
            "public_addresses WHERE interface_id IS NOT NULL",
            "account_usage WHERE value != 0",
            f"host_resources WHERE body IS NOT NULL AND kind NOT IN ({_OF_A_HOST})",
            "instances WHERE state != 'terminated'",
        ):
            found += [f"row of {rows}: {row}" for row in database.execute(f"SELECT * FROM {rows}")]
        (words,) = database.execute("PRAGMA integrity_check").fetchone()
        found += [] if words == "ok" else [f"the database is damaged: {words}"]
    return found


def _promised(cloud: Cloud) -> list[tuple[str, int, int, int, list[int]]]:
    """List the hosts on which the controller counts on anything, and what."""
    counts = [
        (host.id, host.cpus_reserved, host.memory_reserved, host.instances, [pool.promised for pool in host.pools])
        for host in cloud.operator.list_hosts()
    ]
    return [each for each in counts if each[1:] != (0, 0, 0, [0])]


def _has_no_workflow(cloud: Cloud) -> bool:
    path = cloud.settings.controller_dir / "stead.sqlite"
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        return database.execute("SELECT * FROM workflows").fetchall() == []


def _is_bare(cloud: Cloud, host_id: str) -> bool:
    remains: dict[str, list[str]] = cloud.let_happen(do="remains", host=host_id)["remains"]
    return remains.keys() <= {"bases"}
