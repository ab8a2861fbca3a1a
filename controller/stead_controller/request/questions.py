"""What only a host, the block store or slow reckoning can answer: asked after the transaction is over. Pure."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime


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


@dataclass(frozen=True, slots=True)
class PasswordData:
    """The encrypted password that an instance's guest wrote to its serial console."""

    host_id: str
    instance_id: str


@dataclass(frozen=True, slots=True)
class PasswordCheck:
    """Which passwords are those that were kept: a byte for each, 1 or 0; each takes some hundredths of a second."""

    pairs: tuple[tuple[str, str], ...] = field(repr=False)  # a password, and what was kept


@dataclass(frozen=True, slots=True)
class Capture:
    """The packets of a network interface for a moment."""

    host_id: str
    interface_id: str
    seconds: int
    packets: int
    snap_length: int


@dataclass(frozen=True, slots=True)
class Look:
    """What is in force on its host for a network interface, and where it routes a packet to."""

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
    """Keep a block in the block store; the answer is its digest."""

    content: bytes


type BlockQuestion = ReadBlock | WriteBlock
type HostQuestion = ConsoleOutput | Screenshot | PasswordData | Capture | Look
type Question = HostQuestion | BlockQuestion | PasswordCheck


@dataclass(frozen=True, slots=True)
class HostAnswer:
    """What the host or the store said, and when."""

    content: bytes
    taken_at: datetime
    error: str = ""  # why the host could not say more, for the operator


type Ask = Callable[[Question], Awaitable[HostAnswer]]
