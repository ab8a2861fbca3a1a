"""Gives an adopted instance the instance profile that it had: by its id, if this database knows that."""

from datetime import datetime

from stead_controller.db.tables import IamInstanceProfile, Instance
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.instances import profile_associations
from stead_proto.v1 import desired_pb2 as pb


def give(tx: Transaction, cloud: Cloud, instance: Instance, role: pb.RoleCredentials, now: datetime) -> list[str]:
    """Set the instance profile that a host says an instance has, and return what the operator should know of it."""
    if not role.profile_id:
        return []
    profile = tx.session.get(IamInstanceProfile, role.profile_id)
    if profile is None or profile.account_id != instance.account_id:
        return [f"its instance profile {role.profile_arn} is not known: it has none now"]
    profile_associations.give(tx, cloud, instance, profile, now)
    return []
