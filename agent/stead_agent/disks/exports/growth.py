"""Grows a volume while a guest of another host uses it: first in its home's daemon, then in the other host's.

An NBD export keeps its initial size, and a client the size that it received when it connected. So the export is
replaced; requests meanwhile wait, as when a daemon was killed. See `graph.py` for the commands.
"""

import time
from typing import Any, Final

from stead_agent.disks.exports import graph
from stead_agent.disks.exports.graph import Command
from stead_agent.disks.exports.interface import ExportError, HomeAwayError, Remote
from stead_agent.disks.exports.qmp import Qmp, RefusedError

_END_SECONDS: Final = 5.0  # how long an export may wait for requests in flight before it ends
_POLL_SECONDS: Final = 0.01


def exported(monitor: Qmp) -> dict[str, Any]:
    """Return the daemon's description of its one export; raises ExportError when there is none, or another one."""
    found = monitor.execute("query-block-exports")
    if len(found) != 1:
        raise ExportError(f"there are {len(found)} exports")
    return dict(found[0])


def size_of(monitor: Qmp) -> int:
    """Return the size of the exported disk."""
    return graph.reported_size(monitor.execute("query-named-block-nodes"), str(exported(monitor)["node-name"]))


def grow_at_home(monitor: Qmp, volume_id: str, size: int, *, flushes_each_write: bool) -> None:
    """Replace the export by one of the grown disk."""
    before = exported(monitor)
    _end(monitor, str(before["id"]))
    _send(monitor, graph.grown_at_home(size))
    node = str(before["node-name"])
    _send(monitor, graph.export_of(volume_id, node, size, flushes_each_write=flushes_each_write))


def has_grown(monitor: Qmp, remote: Remote) -> None:
    """Add a second client of the home, which has grown the volume; on HomeAwayError there is no second client."""
    node = graph.grown_node(remote)
    if graph.reported_size(monitor.execute("query-named-block-nodes"), node):  # left by an agent that was interrupted
        monitor.execute("blockdev-del", {"node-name": node})
    try:
        _send(monitor, graph.connected_anew(remote))
    except RefusedError as error:
        raise HomeAwayError(f"{remote.volume_id}: its home: {error}") from error
    size = graph.reported_size(monitor.execute("query-named-block-nodes"), node)
    if size < remote.size:
        monitor.execute("blockdev-del", {"node-name": node})
        raise HomeAwayError(f"{remote.volume_id}: its home has {size} bytes of {remote.size} yet")


def swap(monitor: Qmp, remote: Remote) -> None:
    """Switch the guest's requests to the second client, and end the first one."""
    before = exported(monitor)
    _end(monitor, str(before["id"]))
    _send(monitor, graph.export_of(remote.volume_id, graph.grown_node(remote), remote.size, flushes_each_write=False))
    monitor.execute("blockdev-del", {"node-name": before["node-name"]})


def _end(monitor: Qmp, export: str) -> None:
    """End an export, and wait until its last request is done."""
    monitor.execute("block-export-del", {"id": export, "mode": "hard"})
    deadline = time.monotonic() + _END_SECONDS
    while any(each["id"] == export for each in monitor.execute("query-block-exports")):
        if time.monotonic() > deadline:
            raise ExportError("requests in flight do not end")
        time.sleep(_POLL_SECONDS)


def _send(monitor: Qmp, command: Command) -> None:
    monitor.execute(command.name, command.arguments)
