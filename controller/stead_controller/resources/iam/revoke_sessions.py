"""An operator ends all sessions of a role."""

from datetime import datetime

from sqlalchemy import select

from stead_controller.db.tables import IamRole
from stead_controller.errors import NotFound
from stead_controller.request.transaction import Transaction
from stead_controller.resources.iam import instance_credentials
from stead_controller.resources.iam.accounts import find_account


def revoke_sessions(tx: Transaction, name: str, role_name: str, now: datetime) -> None:
    """End all sessions of a role that were begun before now; raises NotFound."""
    account = find_account(tx, name)
    role = tx.session.scalar(
        select(IamRole).where(IamRole.account_id == account.id, IamRole.name_lower == role_name.lower())
    )
    if role is None:
        raise NotFound("role", role_name)
    role.sessions_revoked_before = now
    instance_credentials.role_changed(tx, role.id)
