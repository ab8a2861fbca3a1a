"""Create, find and delete flow logs of VPCs, subnets and interfaces; hosts are notified in the same transaction.

Hosts write the records to files, in a folder of the log group's name
(https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs.html).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import delete, func, select

from stead_controller.catalog import ids
from stead_controller.db.tables import FlowLog, NetworkInterface, Subnet, Vpc
from stead_controller.errors import InvalidParameter, LimitExceeded, MissingParameter, Unsupported
from stead_controller.request import client_tokens, lookup
from stead_controller.request.caller import Caller
from stead_controller.request.client_tokens import Repeatable
from stead_controller.request.conditions import Condition, Selection, constant, text
from stead_controller.request.transaction import Transaction
from stead_controller.resources import tags
from stead_controller.resources.network import notify_hosts
from stead_controller.resources.network.flow_log_format import DEFAULT, check_format

# EC2's default quota (https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html)
LOGS_PER_RESOURCE: Final = 2
RESOURCES_AT_ONCE: Final = 300
_IDS_AT_ONCE: Final = 1000

_TYPE: Final = "vpc-flow-log"
DESTINATION_TYPE: Final = "cloud-watch-logs"
_OTHER_DESTINATIONS: Final = ("s3", "kinesis-data-firehose")
_INTERVALS: Final = (60, 600)
_TRAFFIC: Final = ("ACCEPT", "REJECT", "ALL")
_UNBUILT_KINDS: Final = (
    "TransitGateway",
    "TransitGatewayAttachment",
    "RegionalNatGateway",
    "CoreNetwork",
    "CoreNetworkEdge",
    "CoreNetworkAttachment",
)
# CloudWatch's characters for the name of a log group; a name is a path below the folder of logs and never leaves it.
_GROUP_NAME: Final = re.compile(r"[.\-_/#A-Za-z0-9]{1,512}\Z")
_GROUP_ARN: Final = re.compile(r"arn:[a-z-]+:logs:[a-z0-9-]+:[0-9]{12}:log-group:([^:*]+)(?::\*)?\Z")


class _Kind(NamedTuple):
    """A kind of resource that may have flow logs: EC2's name of it here, the type of its ids, and its table."""

    name: str
    resource_type: str
    table: Any


_KINDS: Final = (
    _Kind("VPC", "vpc", Vpc),
    _Kind("Subnet", "subnet", Subnet),
    _Kind("NetworkInterface", "network-interface", NetworkInterface),
)

FILTERS: Final[dict[str, Condition]] = {
    "deliver-log-status": constant("SUCCESS"),
    "flow-log-id": text(FlowLog.id),
    "log-destination-type": constant(DESTINATION_TYPE),
    "log-group-name": text(FlowLog.log_group_name),
    "resource-id": text(FlowLog.resource_id),
    "traffic-type": text(FlowLog.traffic_type),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """CreateFlowLogs, parsed; `log_format` None is EC2's default, the fields of version 2."""

    resource_ids: tuple[str, ...]
    resource_type: str
    traffic_type: str | None
    log_group_name: str | None = None
    destination_type: str = DESTINATION_TYPE
    destination: str | None = None
    log_format: str | None = None
    aggregation_seconds: int = 600
    permission_arn: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Made:
    """The ids of the new flow logs, and the resources for which it failed: (id, code, message)."""

    flow_log_ids: list[str]
    refused: list[tuple[str, str, str]]


def create(tx: Transaction, caller: Caller, asked: Asked, *, repeatable: Repeatable, now: datetime) -> Made:
    """Make a flow log for each resource; a second one with the same settings is refused for that resource alone.

    Raises MissingParameter, InvalidParameter, Unsupported, MalformedId, NotFound, IdempotencyMismatch.
    """
    known = client_tokens.replay_request(tx, caller, repeatable, now)
    if known is not None:
        return Made(known.split(), [])
    kind = _kind(asked.resource_type)
    group_name = _check(asked)
    log_format = DEFAULT if asked.log_format is None else check_format(asked.log_format)
    mine = kind.table.account_id == caller.account_id
    lookup.require(tx, kind.resource_type, kind.table.id, asked.resource_ids, mine)
    made, refused = [], []
    for resource in lookup.rows(tx, kind.table, dict.fromkeys(asked.resource_ids)):
        row = FlowLog(
            id=ids.new_id(_TYPE),
            account_id=caller.account_id,
            vpc_id=resource.id if kind.table is Vpc else resource.vpc_id,
            resource_id=resource.id,
            resource_type=kind.name,
            traffic_type=asked.traffic_type,
            log_group_name=group_name,
            destination=None if asked.destination is None else asked.destination.removesuffix(":*"),
            log_format=log_format,
            aggregation_seconds=asked.aggregation_seconds,
            permission_arn=asked.permission_arn,
            created=now,
        )
        refusal = _refusal(tx, row)
        if refusal is not None:
            refused.append((resource.id, *refusal))
            continue
        tx.session.add(row)
        tx.session.flush()
        tags.create_on_launch(tx, caller, [(_TYPE, row.id)], {_TYPE: asked.tags})
        notify_hosts.flow_log(tx, row.id, row.vpc_id)
        made.append(row.id)
    if (
        len(made) == 1
    ):  # a token stands for one resource; with several resources, existing flow logs are refused as duplicates
        client_tokens.remember_request(tx, caller, repeatable, made[0], now)
    return Made(made, refused)


def remove(tx: Transaction, caller: Caller, flow_log_ids: Sequence[str]) -> None:
    """Delete flow logs, all or none; their files stay. Raises MalformedId, NotFound."""
    if not flow_log_ids:
        raise MissingParameter("FlowLogId")
    if len(flow_log_ids) > _IDS_AT_ONCE:
        raise InvalidParameter(f"At most {_IDS_AT_ONCE} flow logs can be deleted at once")
    lookup.require(tx, _TYPE, FlowLog.id, flow_log_ids, FlowLog.account_id == caller.account_id)
    for row in lookup.rows(tx, FlowLog, dict.fromkeys(flow_log_ids)):
        tx.session.delete(row)
        tx.session.flush()
        notify_hosts.flow_log(tx, row.id, row.vpc_id)
    tags.remove_all(tx, dict.fromkeys(flow_log_ids))


def end_of_vpc(tx: Transaction, vpc_id: str) -> None:
    """Delete the flow logs of a VPC that is deleted, and those of subnets and interfaces that it had."""
    gone = tx.session.scalars(select(FlowLog.id).where(FlowLog.vpc_id == vpc_id)).all()
    tx.session.execute(delete(FlowLog).where(FlowLog.vpc_id == vpc_id).execution_options(synchronize_session=False))
    tags.remove_all(tx, gone)


@dataclass(frozen=True, slots=True)
class DescribedFlowLog:
    """A flow log with its tags."""

    flow_log: FlowLog
    tags: Sequence[tuple[str, str]]


def describe(tx: Transaction, caller: Caller, asked: Selection) -> list[DescribedFlowLog]:
    """Find the caller's flow logs, sorted by id; raises MalformedId, NotFound."""
    found = lookup.select_page(tx, caller, _TYPE, FlowLog, asked, conditions=FILTERS)
    tagged = tags.pairs_of(tx, caller.account_id, [row.id for row in found])
    return [DescribedFlowLog(row, tagged.get(row.id, ())) for row in found]


def _refusal(tx: Transaction, wanted: FlowLog) -> tuple[str, str] | None:
    """Return the code and message why a resource cannot have such a flow log, if so."""
    same = select(FlowLog.id).where(
        FlowLog.resource_id == wanted.resource_id,
        FlowLog.traffic_type == wanted.traffic_type,
        FlowLog.log_group_name == wanted.log_group_name,
        FlowLog.log_format == wanted.log_format,
        FlowLog.aggregation_seconds == wanted.aggregation_seconds,
    )
    if tx.session.scalar(same) is not None:
        message = "Error. There is an existing Flow Log with the same configuration and log destination."
        return "FlowLogAlreadyExists", message
    count = select(func.count()).where(FlowLog.resource_id == wanted.resource_id)
    if tx.session.scalars(count).one() >= LOGS_PER_RESOURCE:
        limit = LimitExceeded(f"A resource may have at most {LOGS_PER_RESOURCE} flow logs.")
        return "FlowLogsLimitExceeded", limit.message
    return None


def _kind(name: str) -> _Kind:
    """Return the kind of resource that a request names; raises Unsupported, InvalidParameter."""
    if name in _UNBUILT_KINDS:
        raise Unsupported(f"Flow logs of the resource type {name} are not supported.")
    found = next((one for one in _KINDS if one.name == name), None)
    if found is None:
        raise InvalidParameter(f"Value ({name}) for parameter resourceType is invalid.")
    return found


def _check(asked: Asked) -> str:
    """Check what does not need the database, and return the name of the log group."""
    if asked.traffic_type is None:
        raise MissingParameter("trafficType")
    if asked.traffic_type not in _TRAFFIC:
        raise InvalidParameter(
            f"Value ({asked.traffic_type}) for parameter trafficType is invalid: ACCEPT, REJECT, ALL."
        )
    if not asked.resource_ids:
        raise MissingParameter("resourceId")
    if len(asked.resource_ids) > RESOURCES_AT_ONCE:
        raise InvalidParameter(f"At most {RESOURCES_AT_ONCE} resources can be given at once")
    if asked.aggregation_seconds not in _INTERVALS:
        raise InvalidParameter(f"Value ({asked.aggregation_seconds}) for parameter maxAggregationInterval: 60 or 600.")
    if asked.destination_type in _OTHER_DESTINATIONS:
        raise Unsupported(
            f"Flow logs cannot be sent to {asked.destination_type}: they are files on the hosts. Use the destination "
            f"type {DESTINATION_TYPE} with a log group's name, which becomes the folder."
        )
    if asked.destination_type != DESTINATION_TYPE:
        raise InvalidParameter(f"Value ({asked.destination_type}) for parameter logDestinationType is invalid.")
    return _group_name(asked)


def _group_name(asked: Asked) -> str:
    name = asked.log_group_name
    if asked.destination is not None:
        if name is not None:
            raise InvalidParameter("Please only provide LogGroupName or only provide LogDestination.")
        found = _GROUP_ARN.match(asked.destination)
        if found is None:
            raise InvalidParameter("LogDestination must be the ARN of a log group.")
        name = found[1]
    if name is None:
        raise MissingParameter("logGroupName")
    parts = name.removeprefix("/").split("/")
    if not _GROUP_NAME.match(name) or any(part in ("", ".", "..") for part in parts):
        raise InvalidParameter(f"Value ({name[:80]}) for parameter logGroupName is invalid: no name of a folder.")
    return name
