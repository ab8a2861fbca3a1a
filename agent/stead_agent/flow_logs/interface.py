"""The interface of flow logs to the rest of the agent: which interfaces' flows are logged, and how.

Nothing here filters or delays packets: the kernel counts and samples, a thread reads that and writes files.
https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs.html
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

# The netfilter log group to which the firewall sends rejected packets, with these prefixes.
REJECTED_GROUP: Final = 83
REJECTED_OUT: Final = "out"
REJECTED_IN: Final = "in"


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface of this host whose flows are logged."""

    id: str
    mac: str
    addresses: tuple[str, ...]  # IPv4 and IPv6
    subnet_id: str = ""
    instance_id: str = ""


@dataclass(frozen=True, slots=True)
class FlowLog:
    """A flow log with those of its interfaces that are on this host."""

    id: str
    log_group: str  # the folder of its files
    interface_ids: frozenset[str]
    accepted: bool
    rejected: bool
    account_id: str = ""
    aggregation_seconds: int = 600
    format: str = ""  # as in EC2, such as "${version} ${account-id} …"; "" = the default


@dataclass(frozen=True, slots=True)
class VpcFlowLogs:
    """The complete desired flow logs of one VPC on this host."""

    vpc_id: str
    logs: tuple[FlowLog, ...] = ()
    interfaces: tuple[Interface, ...] = ()


class Namespaces(Protocol):
    """What flow logs need of the network's namespaces."""

    def inside[T](self, vpc_id: str | None, work: Callable[[], T]) -> T:
        """Do `work` in a thread that is in the VPC's namespace; return its result."""

    def identity(self, vpc_id: str) -> int | None:
        """Return a number that differs between namespaces of the same name over time; None when there is none."""


class FlowLogs(Protocol):
    """The host's flow logs. All methods are idempotent and may be called from any thread."""

    def apply(self, vpc: VpcFlowLogs) -> None:
        """Log exactly these flows; the firewall's `apply` of the VPC comes before. Ended logs are written out first."""

    def remove(self, vpc_id: str) -> None:
        """Stop logging a VPC; comes before the firewall's `remove`. Files stay."""
