"""Builds a `FlowLog` from its row."""

from collections.abc import Iterable

from sqlalchemy import select

from stead_controller.db.session import Transaction
from stead_controller.db.tables import FlowLog
from stead_controller.desired.messages import noted_rows
from stead_proto.v1 import desired_pb2 as pb


def draw(tx: Transaction, flow_log_id: str) -> pb.FlowLog | None:
    """A flow log as the hosts write it; None when it is gone."""
    log = tx.session.scalar(select(FlowLog).where(FlowLog.id == flow_log_id))
    if log is None:
        return None
    return pb.FlowLog(
        vpc_id=log.vpc_id,
        resource_id=log.resource_id,
        accepted=log.traffic_type in ("ACCEPT", "ALL"),
        rejected=log.traffic_type in ("REJECT", "ALL"),
        aggregation_seconds=log.aggregation_seconds,
        format=log.log_format,
        log_group=log.log_group_name,
        account_id=log.account_id,
        rows=noted_rows.of(tx, (FlowLog, FlowLog.id == flow_log_id)),
    )


def ids(tx: Transaction, vpc_id: str) -> Iterable[str]:
    """All flow logs of a VPC, its subnets and its interfaces."""
    return tx.session.scalars(select(FlowLog.id).where(FlowLog.vpc_id == vpc_id)).all()
