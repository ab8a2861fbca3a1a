"""The interface of the reachability check: does a guest answer at its primary network interface, from its gateway?

This needs no agent in the guest: every system with a network answers for its own address, to ARP (RFC 826) or to
neighbour discovery (RFC 4861). EC2's check does the same:
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/monitoring-system-instance-status-check.html
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class Answers(Enum):
    """What is known of a running guest."""

    UNKNOWN = "unknown"  # it ran before this agent, and has not answered it yet: what was last reported still counts
    STARTING = "starting"  # it has not answered since its start
    YES = "yes"
    NO = "no"  # for too long


@dataclass(frozen=True, slots=True)
class Nic:
    """A guest's primary interface, and its subnet's gateway link, from which it is probed."""

    vpc_id: str
    link: str  # of the gateway, in the VPC's namespace
    gateway_mac: str
    gateway_address: str
    mac: str
    address: str  # IPv4, or IPv6 where it has no IPv4, as the gateway's


@dataclass(frozen=True, slots=True)
class Finding:
    """The result; `since` is when a guest that does not answer last did so, in Unix seconds."""

    answers: Answers
    since: float = 0.0


class Reachability(Protocol):
    """Probes the guests of this host, each some times a minute. All methods return at once and may be repeated."""

    def watch(self, machine_id: str, nic: Nic, start_count: int, *, fresh: bool) -> Finding:
        """Continue to probe a guest, or begin when it is new or was started again; return what is known.

        `fresh` says that this agent saw the start: then a guest that has not answered yet is STARTING, else UNKNOWN.
        """

    def forget(self, machine_id: str) -> None:
        """Stop probing: the guest is stopped, or was removed."""

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """Have `callback(machine_id)` called, from a thread of ours, whenever `Answers` of a guest changed."""

    def close(self) -> None:
        """End the thread and close the sockets in all namespaces."""
