"""What a committed transaction makes others look at, here and, as text, in the other controllers.

PostgreSQL carries the text by NOTIFY, of at most 8,000 bytes: https://www.postgresql.org/docs/17/sql-notify.html.
"""

import json
from dataclasses import dataclass, field
from itertools import batched
from typing import Final

_EVENTS_OF_ONE: Final = 150  # ids of at most 40 characters and what stands between them
_FLAGS: Final = ("workflows", "gathers", "makes_room", "scaling", "notifies")


@dataclass(slots=True, kw_only=True)
class Wakes:
    """What changed in a transaction.

    `events` are ids of instances whose watchers must be notified; `revision` is that of the transaction, once it
    changes the desired state of hosts (`desired/revisions.py`); `workflows` is whether it began or moved a workflow.
    With `gathers` its changes for all hosts of a VPC may reach them some seconds later, so that many such changes are
    sent together. `makes_room` is whether hosts may have room now for what waits for it, `scaling` whether a group is
    due to scale, `notifies` whether a message is to be delivered. `removed_hosts` have no place in the cloud any more.
    `request` is the request id of the call that this is, `trace` its traceparent if it is traced.
    """

    events: set[str] = field(default_factory=set)
    revision: int | None = None
    workflows: bool = False
    gathers: bool = False
    makes_room: bool = False
    scaling: bool = False
    notifies: bool = False
    removed_hosts: set[str] = field(default_factory=set)
    trace: str = ""
    request: str = ""


def everything() -> Wakes:
    """Return what wakes all but the watchers of instances: what others committed meanwhile is not known."""
    return Wakes(revision=0, workflows=True, makes_room=True, scaling=True, notifies=True)


def written(wakes: Wakes, sender: str) -> list[str]:
    """Write what others must know as texts for NOTIFY, none where nobody is to be woken."""
    flags = [name for name in _FLAGS if getattr(wakes, name)]
    if not (wakes.events or wakes.removed_hosts or wakes.revision is not None or flags):
        return []
    first = {"from": sender, "revision": wakes.revision, "flags": flags, "removed": sorted(wakes.removed_hosts)}
    if wakes.trace:
        first["trace"] = wakes.trace
    if wakes.request:
        first["request"] = wakes.request
    pieces = list(batched(sorted(wakes.events), _EVENTS_OF_ONE)) or [()]
    return [
        json.dumps({**(first if number == 0 else {"from": sender}), "events": piece}, separators=(",", ":"))
        for number, piece in enumerate(pieces)
    ]


def read(text: str) -> tuple[str, Wakes]:
    """Read such a text: who sent it, and what it wakes; raises ValueError for what is none."""
    content = json.loads(text)
    if "from" not in content:
        raise ValueError(f"no notification of a controller: {text[:80]!r}")
    woken = Wakes(
        events=set(content.get("events", ())),
        revision=content.get("revision"),
        removed_hosts=set(content.get("removed", ())),
        trace=content.get("trace", ""),
        request=content.get("request", ""),
    )
    for name in _FLAGS:
        setattr(woken, name, name in content.get("flags", ()))
    return content["from"], woken
