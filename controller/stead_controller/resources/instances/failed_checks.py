"""Which status checks of running instances fail now, for their metrics."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select

from stead_controller.db.tables import Instance
from stead_controller.request.transaction import Transaction
from stead_controller.resources.instances.instance_status import EBS_STATUS, INSTANCE_STATUS, SYSTEM_STATUS

_FAILED: Final = {"ok": False, "impaired": True}


@dataclass(frozen=True, slots=True)
class FailedChecks:
    """Whether the checks of one running instance fail: of its guest, its host and its volumes; None is not known."""

    account_id: str
    instance_id: str
    instance: bool | None
    system: bool | None
    volumes: bool | None


def of_running(tx: Transaction, after: str, limit: int) -> Sequence[FailedChecks]:
    """Return the checks of the next running instances of all accounts, by id."""
    query = (
        select(
            Instance.account_id,
            Instance.id,
            INSTANCE_STATUS.label("status"),
            SYSTEM_STATUS.label("system"),
            EBS_STATUS.label("ebs"),
        )
        .where(Instance.state == "running", Instance.id > after)
        .order_by(Instance.id)
        .limit(limit)
    )
    return [
        FailedChecks(row.account_id, row.id, *(_FAILED.get(each) for each in (row.status, row.system, row.ebs)))
        for row in tx.session.execute(query)
    ]
