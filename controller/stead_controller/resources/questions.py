"""What only a host can answer now: asked after the transaction is over, since it waits for the network."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from stead_controller.resources.caller import Caller
from stead_controller.resources.instance_lookup import find_instances
from stead_controller.resources.transaction import Transaction


@dataclass(frozen=True, slots=True)
class ConsoleOutput:
    """The last bytes of an instance's serial console."""

    host_id: str
    instance_id: str
    last_bytes: int


@dataclass(frozen=True, slots=True)
class Screenshot:
    """A picture of an instance's screen."""

    host_id: str
    instance_id: str


type Question = ConsoleOutput | Screenshot


@dataclass(frozen=True, slots=True)
class HostAnswer:
    """What the host said, and when it took it."""

    content: bytes
    taken_at: datetime


type Ask = Callable[[Question], Awaitable[HostAnswer]]


def console_output(tx: Transaction, caller: Caller, instance_ids: Sequence[str], last_bytes: int) -> Question | None:
    """Find out whom to ask for an instance's console; None when it has no host any more."""
    instance = find_instances(tx, caller, instance_ids)[0]
    if instance.host_id is None or instance.state == "terminated":
        return None
    return ConsoleOutput(instance.host_id, instance.id, last_bytes)


def screenshot(tx: Transaction, caller: Caller, instance_ids: Sequence[str]) -> Question | None:
    """Find out whom to ask for an instance's screen; None when it is not running."""
    instance = find_instances(tx, caller, instance_ids)[0]
    if instance.host_id is None or instance.state != "running":
        return None
    return Screenshot(instance.host_id, instance.id)
