"""Sessions of instances' roles: EC2 assumes the role for the instance, whose host gives the guest the credentials.

They are renewed long before they expire, so that guests have valid ones for hours while no controller runs. An index
finds those that are due. The stored credentials are for IMDSv2 requests (with a token); IMDSv1 requests get a second
set, made when the state is sent to the host, and policies can distinguish them by ec2:RoleDelivery. See
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html.
"""

import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import bindparam, exists, select, update

from stead_controller.authorization.principals import Principal
from stead_controller.db.due_rows import DueRows
from stead_controller.db.tables import IamInstanceProfile, IamRole, Instance, InstanceProfileAssociation
from stead_controller.desired import desired_state
from stead_controller.request.caller import Origin
from stead_controller.request.cloud import Cloud
from stead_controller.request.session_tokens import Facts, Opened, TemporaryCredentials, mint
from stead_controller.request.transaction import Transaction
from stead_controller.resources.iam import role_sessions
from stead_controller.secrets.sealing import Sealer

LIFETIME: Final = timedelta(hours=6)
RENEWED_AFTER: Final = timedelta(hours=3)

SUCCESS: Final = "Success"
NO_PROFILE: Final = "InstanceProfileNotFound"
NO_TRUST: Final = "AssumeRoleUnauthorizedAccess"

_SPREAD_SECONDS: Final = 900  # so that instances launched together are not due at the same time
_EC2: Final = Principal(arn="ec2.amazonaws.com", account_id="", kind="service")
_RUNNING: Final = ("pending", "running")
_IMDS_V1, _IMDS_V2 = "1.0", "2.0"  # their values of ec2:RoleDelivery


def renew(
    tx: Transaction, cloud: Cloud, association: InstanceProfileAssociation, instance: Instance, now: datetime
) -> None:
    """Renew the credentials of a running instance's association; its host gets them with the instance's next update."""
    association.access_key_id = association.session_token = association.role_name = ""
    association.expires = None
    association.updated = now
    profile = tx.session.get(IamInstanceProfile, association.profile_id)
    role = tx.session.get(IamRole, profile.role_id) if profile is not None and profile.role_id is not None else None
    spread = timedelta(seconds=random.uniform(0, _SPREAD_SECONDS))
    association.due = now + RENEWED_AFTER - spread
    if profile is None:
        association.code = NO_PROFILE
        return
    association.code = SUCCESS
    if role is None:
        return
    association.role_name = role.name
    if not role_sessions.trusts(role_sessions.of_row(role), _EC2, "sts:AssumeRole", {"aws:CurrentTime": now}):
        association.code = NO_TRUST
        return
    expires = now + LIFETIME
    arn = f"arn:{cloud.partition}:ec2:{cloud.region}:{instance.account_id}:instance/{instance.id}"
    origin = Origin(arn, instance.vpc_id, instance.private_address or "", _IMDS_V2)
    made = mint(cloud.sealer, Facts("role", role.account_id, role.id, instance.id, now, expires, origin=origin))
    association.access_key_id, association.session_token = made.access_key_id, made.session_token
    association.expires = expires


def begin(tx: Transaction, cloud: Cloud, instance: Instance, now: datetime) -> None:
    """Make the credentials of an instance that is starting, if it has an instance profile."""
    if instance.profile_association_id is not None:
        association = tx.session.get_one(InstanceProfileAssociation, instance.profile_association_id)
        renew(tx, cloud, association, instance, now)


def without_token(sealer: Sealer, opened: Opened) -> TemporaryCredentials | None:
    """Make the second session of an instance, for metadata requests without a token.

    None for a session that an earlier release began: then all requests get the same one.
    """
    if opened.facts.origin is None:
        return None
    return mint(sealer, replace(opened.facts, origin=replace(opened.facts.origin, delivery=_IMDS_V1)))


DUE: Final = DueRows(exists().where(InstanceProfileAssociation.due <= bindparam("now")))
"""Whether any credentials are due."""


def renew_due(tx: Transaction, cloud: Cloud, now: datetime, most: int) -> None:
    """Renew credentials that are due, the longest due first up to a limit, and notify the hosts."""
    due = (
        select(InstanceProfileAssociation)
        .where(InstanceProfileAssociation.due <= now)
        .order_by(InstanceProfileAssociation.due)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    found = tx.session.scalars(due).all()
    instances = _instances(tx, (one.instance_id for one in found))
    renewed: dict[str, list[Instance]] = defaultdict(list)
    for association in found:
        instance = instances.get(association.instance_id)
        if instance is None or instance.state not in _RUNNING or instance.host_id is None:
            forget(association)
        else:
            renew(tx, cloud, association, instance, now)
            renewed[instance.host_id].append(instance)
    for host_id, its in renewed.items():
        desired_state.refresh_instances(tx, host_id, its)


def forget(association: InstanceProfileAssociation) -> None:
    """Remove the credentials of an instance that is off."""
    association.code = association.access_key_id = association.session_token = association.role_name = ""
    association.expires = association.updated = association.due = None


def profile_changed(tx: Transaction, profile_id: str) -> None:
    """Renew the credentials of all instances with a changed instance profile within seconds."""
    _hasten(tx, InstanceProfileAssociation.profile_id == profile_id)


def role_changed(tx: Transaction, role_id: str) -> None:
    """Renew the credentials of all instances with a changed role within seconds."""
    profiles = select(IamInstanceProfile.id).where(IamInstanceProfile.role_id == role_id)
    _hasten(tx, InstanceProfileAssociation.profile_id.in_(profiles))


def _hasten(tx: Transaction, which: object) -> None:
    tx.session.flush()
    tx.session.execute(
        update(InstanceProfileAssociation)
        .where(which, InstanceProfileAssociation.due.is_not(None))  # type: ignore[arg-type]  # a condition
        .values(due=InstanceProfileAssociation.created)  # in the past
        .execution_options(synchronize_session=False)
    )


def _instances(tx: Transaction, instance_ids: Iterable[str]) -> dict[str, Instance]:
    rows = tx.session.scalars(select(Instance).where(Instance.id.in_(list(instance_ids))))
    return {row.id: row for row in rows}
