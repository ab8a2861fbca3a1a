"""Launch configurations: made, found and deleted; they never change, and groups refer to them by name."""

import json
import uuid
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import func, select

from stead_controller.db.tables import LaunchConfiguration, ScalingGroup
from stead_controller.errors import AlreadyExists, InUse, LimitExceeded, NotFound
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.instances.launch_request import LaunchRequest

MOST: Final = 200
"""How many an account can have, as in AWS by default."""

KEY: Final = "LaunchConfigurationName"

type ShownConfiguration = LaunchConfiguration
"""A launch configuration as it is shown."""


def stored(name: str) -> str:
    """Return what a group stores that launches by a configuration."""
    return json.dumps({KEY: name})


def arn_of(cloud: Cloud, account_id: str, configuration_id: str, name: str) -> str:
    """Return a configuration's ARN; of one whose id is not known, it is `*`."""
    place = f"arn:{cloud.partition}:autoscaling:{cloud.region}:{account_id}"
    return f"{place}:launchConfiguration:{configuration_id}:launchConfigurationName/{name}"


def arn_of_name(tx: Transaction, caller: Caller, cloud: Cloud, name: str) -> str:
    """Return the ARN of a configuration that may not be there."""
    found = tx.session.get(LaunchConfiguration, (caller.account_id, name))
    return arn_of(cloud, caller.account_id, "*" if found is None else found.id, name)


def find(tx: Transaction, caller: Caller, name: str) -> LaunchConfiguration:
    """Return a configuration; raises NotFound."""
    row = tx.session.get(LaunchConfiguration, (caller.account_id, name))
    if row is None:
        message = f"Launch configuration name not found - A launch configuration with the name: {name} does not exist"
        raise NotFound("launch-configuration", name, message=message)
    return row


def create(tx: Transaction, caller: Caller, name: str, data: str, request: LaunchRequest, *, now: datetime) -> None:
    """Make a configuration of a request, `data` is its JSON; raises AlreadyExists, LimitExceeded."""
    if tx.session.get(LaunchConfiguration, (caller.account_id, name)) is not None:
        raise AlreadyExists(
            "launch-configuration",
            "Launch Configuration by this name already exists - A launch configuration already exists with the name "
            f"{name}",
        )
    if count(tx, caller) >= MOST:
        raise LimitExceeded(f"You have reached the limit of {MOST} launch configurations.")
    row = LaunchConfiguration(
        account_id=caller.account_id,
        name=name,
        id=str(uuid.uuid4()),
        image_id=request.image_id,
        instance_type=request.instance_type,
        data=data,
        created=now,
    )
    tx.session.add(row)
    tx.session.flush()


def count(tx: Transaction, caller: Caller) -> int:
    """Return how many an account has."""
    mine = LaunchConfiguration.account_id == caller.account_id
    return tx.session.scalar(select(func.count()).select_from(LaunchConfiguration).where(mine)) or 0


def made(tx: Transaction, caller: Caller) -> dict[str, datetime]:
    """Return when each of an account's configurations was made."""
    mine = LaunchConfiguration.account_id == caller.account_id
    rows = tx.session.execute(select(LaunchConfiguration.name, LaunchConfiguration.created).where(mine))
    return {row.name: row.created for row in rows}


def describe(
    tx: Transaction, caller: Caller, names: Collection[str], *, after: str | None, limit: int
) -> Sequence[LaunchConfiguration]:
    """List the caller's configurations by name."""
    query = select(LaunchConfiguration).where(LaunchConfiguration.account_id == caller.account_id)
    if names:
        query = query.where(LaunchConfiguration.name.in_(names))
    if after is not None:
        query = query.where(LaunchConfiguration.name > after)
    return tx.session.scalars(query.order_by(LaunchConfiguration.name).limit(limit)).all()


def remove(tx: Transaction, caller: Caller, name: str) -> None:
    """Delete a configuration; raises NotFound, InUse while a group launches by it."""
    row = find(tx, caller, name)
    used = select(ScalingGroup.id).where(
        ScalingGroup.account_id == caller.account_id, ScalingGroup.launch == stored(name)
    )
    if tx.session.scalar(used.limit(1)) is not None:
        raise InUse(
            f"Cannot delete launch configuration {name} because it is attached to AutoScalingGroup of this account."
        )
    tx.session.delete(row)
    tx.session.flush()
