"""Sessions of instances' identity role: they prove a guest's identity and allow nothing else.

Every running instance has one, whatever its instance profile. Only its start time is stored: the credentials are made
when they are sent to hosts, and renewed long before they expire. See
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/iam-roles-for-amazon-ec2.html (instance identity roles).
"""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import bindparam, exists, select

from stead_controller.db.due_rows import DueRows
from stead_controller.db.tables import Instance
from stead_controller.desired import desired_state
from stead_controller.request.session_tokens import Facts, TemporaryCredentials, mint
from stead_controller.request.transaction import Transaction
from stead_controller.secrets.sealing import Sealer

LIFETIME: Final = timedelta(hours=24)
RENEWED_AFTER: Final = timedelta(hours=12)

_RUNNING: Final = ("pending", "running")


def credentials(sealer: Sealer, account_id: str, instance_id: str, began: int) -> TemporaryCredentials:
    """Make the credentials of a session that began at a Unix time."""
    issued = datetime.fromtimestamp(began, UTC)
    return mint(sealer, Facts("role", account_id, instance_id, instance_id, issued, issued + LIFETIME))


DUE: Final = DueRows(exists().where(Instance.identity_issued <= bindparam("issued")), {"issued": -RENEWED_AFTER})
"""Whether any session is due."""


def renew_due(tx: Transaction, now: datetime, most: int) -> None:
    """Renew sessions that are due, the oldest first up to a limit, and notify the hosts."""
    due = (
        select(Instance)
        .where(Instance.identity_issued <= now - RENEWED_AFTER)
        .order_by(Instance.identity_issued)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    found = tx.session.scalars(due).all()
    renewed: dict[str, list[Instance]] = defaultdict(list)
    for instance in found:
        runs = instance.state in _RUNNING and instance.host_id is not None
        instance.identity_issued = now if runs else None
        if runs and instance.host_id is not None:
            renewed[instance.host_id].append(instance)
    for host_id, its in renewed.items():
        desired_state.refresh_instances(tx, host_id, its)
