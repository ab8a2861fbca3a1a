"""Convert counted flows into the lines of EC2's flow log records: pure.

https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from stead_agent.flow_logs.interface import FlowLog, Interface

DEFAULT_FORMAT: Final = (
    "${version} ${account-id} ${interface-id} ${srcaddr} ${dstaddr} ${srcport} ${dstport} ${protocol} ${packets}"
    " ${bytes} ${start} ${end} ${action} ${log-status}"
)
_FIELD: Final = re.compile(r"\$\{([a-z-]+)\}")
_UNKNOWN: Final = "-"
# The version that introduced a field: a record has the highest version of its fields.
_LATER_FIELDS: Final = {
    "vpc-id": 3, "subnet-id": 3, "instance-id": 3, "tcp-flags": 3, "type": 3, "pkt-srcaddr": 3, "pkt-dstaddr": 3,
    "region": 4, "az-id": 4, "sublocation-type": 4, "sublocation-id": 4,
    "pkt-src-aws-service": 5, "pkt-dst-aws-service": 5, "flow-direction": 5, "traffic-path": 5,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Flow:
    """One direction of a flow, as one interface sees it."""

    interface_id: str
    source: str
    destination: str
    source_port: int
    destination_port: int
    protocol: int
    accepted: bool
    is_egress: bool


@dataclass(slots=True)
class Count:
    """The packets and bytes of a flow, and when it was first and last seen: whole seconds since 1970."""

    packets: int
    bytes: int
    start: int
    end: int


@lru_cache(maxsize=256)
def fields_of(text: str) -> tuple[str, ...]:
    """List the fields of a format."""
    return tuple(_FIELD.findall(text or DEFAULT_FORMAT))


def record(vpc_id: str, log: FlowLog, interface: Interface, flow: Flow, count: Count) -> str:
    """Return the record of a flow."""
    return _line(
        log,
        _about(vpc_id, log, interface)
        | {
            "srcaddr": flow.source,
            "dstaddr": flow.destination,
            "pkt-srcaddr": flow.source,
            "pkt-dstaddr": flow.destination,
            "srcport": str(flow.source_port),
            "dstport": str(flow.destination_port),
            "protocol": str(flow.protocol),
            "packets": str(count.packets),
            "bytes": str(count.bytes),
            "start": str(count.start),
            "end": str(count.end),
            "action": "ACCEPT" if flow.accepted else "REJECT",
            "log-status": "OK",
            "type": "IPv6" if ":" in flow.source else "IPv4",
            "flow-direction": "egress" if flow.is_egress else "ingress",
        },
    )


def without_flows(vpc_id: str, log: FlowLog, interface: Interface, interval: tuple[int, int], status: str) -> str:
    """Return the record of an interval without any: NODATA when there were none, SKIPDATA when there were too many."""
    times = {"start": str(interval[0]), "end": str(interval[1]), "log-status": status}
    return _line(log, _about(vpc_id, log, interface) | times)


def _about(vpc_id: str, log: FlowLog, interface: Interface) -> dict[str, str]:
    return {
        "version": str(max((_LATER_FIELDS.get(field, 2) for field in fields_of(log.format)), default=2)),
        "account-id": log.account_id or _UNKNOWN,
        "interface-id": interface.id,
        "vpc-id": vpc_id,
        "subnet-id": interface.subnet_id or _UNKNOWN,
        "instance-id": interface.instance_id or _UNKNOWN,
    }


def _line(log: FlowLog, values: dict[str, str]) -> str:
    return " ".join(values.get(field, _UNKNOWN) for field in fields_of(log.format))
