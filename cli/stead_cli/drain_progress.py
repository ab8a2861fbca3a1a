"""How far a host is on its way to be empty, as a bar on a terminal."""

import time
from collections.abc import Iterable
from typing import Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from stead_proto.v1 import operator_pb2 as pb

LOOK_SECONDS: Final = 1.0


class Hosts(Protocol):
    """What is asked of the controller."""

    def show_host(self, host_id: str) -> pb.Host:
        """One host with what is on it."""


def follow(hosts: Hosts, found: pb.Host) -> pb.Host:
    """Look at a host that is drained until nothing on it is on its way any more, and return it as it is then."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=Console(stderr=True)) as shown:
        bar = shown.add_task(f"emptying {found.hostname or found.id}", total=1.0)
        most = 0
        while found.state == "draining" and (on_the_way := _on_the_way(found.uses)):
            most = max(most, len(on_the_way))
            done = most - len(on_the_way) + sum(use.percent for use in on_the_way) / 100
            shown.update(bar, total=float(most), completed=done)
            time.sleep(LOOK_SECONDS)
            found = hosts.show_host(found.id)
        if found.state == "drained":
            shown.update(bar, total=1.0, completed=1.0)
    return found


def _on_the_way(uses: Iterable[pb.HostUse]) -> list[pb.HostUse]:
    return [use for use in uses if use.HasField("percent")]
