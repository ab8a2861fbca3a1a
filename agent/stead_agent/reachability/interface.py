"""The promise: does a guest answer at its primary network interface, as seen from its gateway?

A guest needs no agent for it: every system with a network answers for its own address, to ARP (RFC 826) or to
neighbour discovery (RFC 4861). So does EC2's check:
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/monitoring-system-instance-status-check.html
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class Answers(Enum):
    """What is known of a guest that runs."""

    UNKNOWN = "unknown"  # it ran before this agent, which has not heard of it yet: what was last reported still counts
    STARTING = "starting"  # it has not answered since its start
    YES = "yes"
    NO = "no"  # for too long


@dataclass(frozen=True, slots=True)
class Nic:
    """Where a guest is asked: its primary interface, and the end of its subnet from which it is asked."""

    vpc_id: str
    link: str  # of the gateway, in the VPC's namespace
    gateway_mac: str
    gateway_address: str
    mac: str
    address: str  # IPv4, or IPv6 where it has no IPv4, as the gateway's


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found out; `since` is when a guest that does not answer was last known to do, in Unix seconds."""

    answers: Answers
    since: float = 0.0


class Reachability(Protocol):
    """Asks the guests of this host, each some times a minute. All methods return at once and may be repeated."""

    def watch(self, machine_id: str, nic: Nic, start_count: int, *, fresh: bool) -> Finding:
        """Go on asking a guest, or begin to when it is a new one, or one of another start; tell what is known.

        `fresh` says that this agent saw the start: then a guest that has not answered yet is STARTING, else UNKNOWN.
        """

    def forget(self, machine_id: str) -> None:
        """Ask no more: the guest is off, or is no more."""

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """Have `callback(machine_id)` called, from a thread of ours, whenever `Answers` of a guest changed."""

    def close(self) -> None:
        """End the thread and let go of all namespaces."""
