"""Instance profiles of instances: set at launch, associated, replaced and disassociated while they run.

See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/attach-iam-role.html.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, select, update

from stead_controller.catalog import ids
from stead_controller.db.prepared import Prepared, Question
from stead_controller.db.tables import IamInstanceProfile, Instance, InstanceProfileAssociation
from stead_controller.desired import desired_state
from stead_controller.errors import InvalidCombination, InvalidParameter, MissingParameter, WrongState
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.conditions import Condition, Selection, text
from stead_controller.request.transaction import Transaction
from stead_controller.resources.iam import entities, instance_credentials

RESOURCE: Final = "iam-instance-profile-association"

FILTERS: Final[dict[str, Condition]] = {
    "instance-id": text(InstanceProfileAssociation.instance_id),
    "state": text(InstanceProfileAssociation.state),
}
_STATES: Final = ("pending", "running", "stopping", "stopped")
_RUNNING: Final = ("pending", "running")
_ASSOCIATING: Final = "associating"
_WAITING: Final = Prepared(
    select(InstanceProfileAssociation.instance_id).where(
        InstanceProfileAssociation.instance_id.in_(bindparam("ids", expanding=True)),
        InstanceProfileAssociation.state == _ASSOCIATING,
    )
)


@dataclass(frozen=True, slots=True)
class ProfileName:
    """How a request names an instance profile: by one of both."""

    name: str | None = None
    arn: str | None = None


@dataclass(frozen=True, slots=True)
class DescribedAssociation:
    """An association of an instance profile with an instance; `state` is EC2's word."""

    id: str
    instance_id: str
    profile_arn: str
    profile_id: str
    state: str
    created: datetime


def find(tx: Transaction, account_id: str, named: ProfileName) -> IamInstanceProfile:
    """Return an instance profile of an account; raises MissingParameter, InvalidCombination, InvalidParameter."""
    if named.name is not None and named.arn is not None:
        raise InvalidCombination(
            "The parameter 'iamInstanceProfile.name' may not be used in combination with 'iamInstanceProfile.arn'"
        )
    if named.name is None and named.arn is None:
        raise MissingParameter("IamInstanceProfile.Name")
    member, said = ("name", named.name) if named.name is not None else ("arn", named.arn or "")
    profile = tx.session.scalar(
        select(IamInstanceProfile).where(
            IamInstanceProfile.account_id == account_id,
            IamInstanceProfile.name_lower == said.rpartition("/")[2].lower(),
        )
    )
    if profile is None or said != (profile.name if member == "name" else entities.arn_of(profile)):
        raise InvalidParameter(
            f"Value ({said}) for parameter iamInstanceProfile.{member} is invalid. "
            f"Invalid IAM Instance Profile {'name' if member == 'name' else 'ARN'}"
        )
    return profile


def give(tx: Transaction, cloud: Cloud, instance: Instance, profile: IamInstanceProfile, now: datetime) -> None:
    """Set the instance profile of an instance without one; its host gets it with the next update of the instance."""
    association = InstanceProfileAssociation(
        id=ids.new_id(RESOURCE),
        account_id=instance.account_id,
        instance_id=instance.id,
        profile_id=profile.id,
        profile_arn=entities.arn_of(profile),
        profile_name=profile.name,
        created=now,
    )
    instance.profile_association_id = association.id
    tx.session.add(association)
    if instance.state in _RUNNING:
        association.state = _ASSOCIATING  # until its host reports that the guest has it
        instance_credentials.renew(tx, cloud, association, instance, now)


def associate(
    tx: Transaction, caller: Caller, cloud: Cloud, instance_id: str, named: ProfileName, *, now: datetime
) -> DescribedAssociation:
    """Associate an instance profile with an instance and notify its host; raises BadRequest, NotFound, WrongState."""
    instance = lookup.find(tx, caller, "instance", Instance, instance_id)
    profile = find(tx, caller.account_id, named)
    if instance.state not in _STATES:
        raise WrongState("instance", f"The instance '{instance_id}' is not in the 'running' or 'stopped' states.")
    if instance.profile_association_id is not None:
        raise WrongState(
            "instance", f"There is an existing association for instance {instance_id}", code="IncorrectState"
        )
    give(tx, cloud, instance, profile, now)
    desired_state.refresh_instance(tx, instance.id)
    return _described(_of(tx, instance), _ASSOCIATING)


def replace(
    tx: Transaction, caller: Caller, cloud: Cloud, association_id: str, named: ProfileName, *, now: datetime
) -> DescribedAssociation:
    """Replace a running instance's instance profile, in a new association.

    Raises BadRequest, NotFound, and WrongState for one that is off, of which EC2 calls no association active.
    """
    before = lookup.find(tx, caller, RESOURCE, InstanceProfileAssociation, association_id)
    profile = find(tx, caller.account_id, named)
    if tx.session.get_one(Instance, before.instance_id).state not in _RUNNING:
        raise WrongState(RESOURCE, f"The association {association_id} is not the active association")
    instance = _end(tx, before)
    give(tx, cloud, instance, profile, now)
    desired_state.refresh_instance(tx, instance.id)
    return _described(_of(tx, instance), _ASSOCIATING)


def disassociate(tx: Transaction, caller: Caller, association_id: str) -> DescribedAssociation:
    """Remove an instance's profile; its credentials stay valid until they expire. Raises MalformedId, NotFound."""
    association = lookup.find(tx, caller, RESOURCE, InstanceProfileAssociation, association_id)
    ended = _described(association, "disassociating")
    desired_state.refresh_instance(tx, _end(tx, association).id)
    return ended


def end_with_instance(tx: Transaction, instance: Instance) -> None:
    """Remove the association of a terminated instance."""
    if instance.profile_association_id is not None:
        _end(tx, _of(tx, instance))


def waiting_question(instance_ids: Sequence[str]) -> Question:
    """Return what `waiting` asks, so that the database can answer it with others."""
    return _WAITING, {"ids": instance_ids}


def waiting(tx: Transaction, instance_ids: Collection[str]) -> set[str]:
    """Return those of some instances for which `settle` would change something."""
    return set(_WAITING.scalars(tx.connection, {"ids": list(instance_ids)}))


def settle(tx: Transaction, instance_id: str) -> None:
    """Record that an instance's host has given its guest the instance profile."""
    tx.session.execute(
        update(InstanceProfileAssociation)
        .where(InstanceProfileAssociation.instance_id == instance_id, InstanceProfileAssociation.state == _ASSOCIATING)
        .values(state="associated")
    )


def describe(tx: Transaction, caller: Caller, asked: Selection) -> list[DescribedAssociation]:
    """List associations, sorted by id; raises MalformedId, NotFound."""
    found = lookup.select_page(tx, caller, RESOURCE, InstanceProfileAssociation, asked, conditions=FILTERS)
    return [_described(association, association.state) for association in found]


def _of(tx: Transaction, instance: Instance) -> InstanceProfileAssociation:
    return tx.session.get_one(InstanceProfileAssociation, instance.profile_association_id)


def _end(tx: Transaction, association: InstanceProfileAssociation) -> Instance:
    instance = tx.session.get_one(Instance, association.instance_id)
    instance.profile_association_id = None
    tx.session.delete(association)
    tx.session.flush()
    return instance


def _described(association: InstanceProfileAssociation, state: str) -> DescribedAssociation:
    return DescribedAssociation(
        association.id,
        association.instance_id,
        association.profile_arn,
        association.profile_id,
        state,
        association.created,
    )
