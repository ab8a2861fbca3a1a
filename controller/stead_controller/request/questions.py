"""Questions for a host, the block store or a slow computation, asked after the transaction has ended. Pure."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from stead_controller.metrics.datum import Store


@dataclass(frozen=True, slots=True)
class ConsoleOutput:
    """The last bytes of an instance's serial console."""

    host_id: str
    instance_id: str
    last_bytes: int


@dataclass(frozen=True, slots=True)
class Screenshot:
    """A screenshot of an instance's console, after the press of a key if it is to wake up."""

    host_id: str
    instance_id: str
    wake_up: bool = False


@dataclass(frozen=True, slots=True)
class Interrupt:
    """A non-maskable interrupt for an instance's guest; the answer has no content."""

    host_id: str
    instance_id: str


@dataclass(frozen=True, slots=True)
class PasswordData:
    """The encrypted password that an instance's guest wrote to its serial console."""

    host_id: str
    instance_id: str


@dataclass(frozen=True, slots=True)
class PushedKey:
    """Show a public SSH key in an instance's metadata for some seconds; the answer is empty."""

    host_id: str
    instance_id: str
    os_user: str
    openssh: str
    seconds: int
    caller: str
    request_id: str


@dataclass(frozen=True, slots=True)
class ConsoleUse:
    """Whether somebody has a session at an instance's serial console: a byte if so, else nothing."""

    instance_id: str


@dataclass(frozen=True, slots=True)
class PasswordCheck:
    """Which passwords match the stored hashes: a byte for each, 1 or 0; each takes some hundredths of a second."""

    pairs: tuple[tuple[str, str], ...] = field(repr=False)  # a password, and the stored hash


@dataclass(frozen=True, slots=True)
class Capture:
    """A short packet capture of a network interface."""

    host_id: str
    interface_id: str
    seconds: int
    packets: int
    snap_length: int


@dataclass(frozen=True, slots=True)
class Look:
    """The rules in force on a network interface's host, and where the host routes a packet to."""

    host_id: str
    vpc_id: str
    subnet_id: str
    interface_id: str
    from_address: str
    to_address: str


@dataclass(frozen=True, slots=True)
class ReadBlock:
    """The content of a block of the block store."""

    digest: bytes


@dataclass(frozen=True, slots=True)
class WriteBlock:
    """Store a block in the block store; the answer is its digest."""

    content: bytes


@dataclass(frozen=True, slots=True)
class OfMetrics:
    """Something for the store of metrics; what it returns is `found` in the answer."""

    ask: Callable[[Store], Awaitable[Any]]


type BlockQuestion = ReadBlock | WriteBlock
type HostQuestion = ConsoleOutput | Screenshot | Interrupt | PasswordData | PushedKey | Capture | Look
type Question = HostQuestion | BlockQuestion | PasswordCheck | ConsoleUse | OfMetrics


@dataclass(frozen=True, slots=True)
class HostAnswer:
    """The answer of the host or the store, and its time."""

    content: bytes
    taken_at: datetime
    error: str = ""  # why the answer is incomplete, for the operator
    found: Any = None  # of the store of metrics


type Ask = Callable[[Question], Awaitable[HostAnswer]]
