"""How burstable instances spend CPU credits: standard or unlimited; and the credits that launches are given.

See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/burstable-performance-instances-how-to.html. The credits
themselves are counted by the instance's host.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from stead_controller.catalog import cpu_credits, ids
from stead_controller.catalog.instance_type import InstanceType
from stead_controller.db.tables import BurstableSettings, Instance
from stead_controller.desired import desired_state
from stead_controller.errors import InvalidParameter, Unsupported
from stead_controller.request import client_tokens, instance_types, lookup
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.conditions import Selection
from stead_controller.request.transaction import Transaction
from stead_controller.resources.instances import instance_filters

_OPERATION: Final = "ModifyInstanceCreditSpecification"
_NOT_SUPPORTED: Final = "InstanceCreditSpecification.NotSupported"
_ENDED: Final = ("shutting-down", "terminated")
_PERIOD: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class CreditSpecification:
    """The mode of an instance."""

    instance_id: str
    mode: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the mode of an instance was not changed: EC2's code and a sentence."""

    instance_id: str
    code: str
    message: str


def describe(tx: Transaction, caller: Caller, cloud: Cloud, asked: Selection) -> list[CreditSpecification]:
    """Find the modes of the caller's instances, sorted by id; without ids, of those in the mode `unlimited`.

    An instance that is not burstable has the mode `standard`, or `unlimited` if it had that when it was burstable.
    Raises MalformedId, NotFound.
    """
    mine = [Instance.account_id == caller.account_id]
    lookup.require(tx, "instance", Instance.id, asked.ids, *mine)
    if not asked.ids:
        mine.append(Instance.cpu_credits == cpu_credits.UNLIMITED)
    known = instance_filters.conditions(cloud)
    found = lookup.select_ids(tx, caller, Instance.id, asked, *mine, conditions=known)
    return [CreditSpecification(row.id, row.cpu_credits) for row in lookup.rows(tx, Instance, found)]


def settle(tx: Transaction, account_id: str, kind: InstanceType, asked: str | None) -> str:
    """Return the mode of a new instance of a type; raises InvalidParameter, Unsupported when it is not burstable."""
    if asked is not None:
        check_mode(asked)
        if not kind.burstable:
            raise Unsupported(f"The {kind.name} instance type has no CPU credits.", code=_NOT_SUPPORTED)
        return asked
    return default_mode(tx, account_id, kind.family) if kind.burstable else cpu_credits.STANDARD


def check_mode(mode: str) -> None:
    """Raise InvalidParameter for what is no mode."""
    if mode not in cpu_credits.MODES:
        raise InvalidParameter(f"Value ({mode}) for parameter cpuCredits is invalid. Valid: standard, unlimited")


def after_type_change(tx: Transaction, instance: Instance, kind: InstanceType) -> str:
    """Return the mode of an instance that gets another type: its own, unless it had none that counted."""
    before = instance_types.find(tx, instance.instance_type)
    if not kind.burstable or instance.cpu_credits == cpu_credits.UNLIMITED or (before is not None and before.burstable):
        return instance.cpu_credits
    return default_mode(tx, instance.account_id, kind.family)


def modify(
    tx: Transaction, caller: Caller, asked: Sequence[CreditSpecification], now: datetime, *, token: str, digest: str
) -> list[CreditSpecification | Refusal]:
    """Change the modes of instances, each that allows it; return for each what was done, in the order of the request.

    A request that is repeated with its ClientToken changes nothing. Raises InvalidParameter for a bad mode, or when an
    instance is named twice, and then none is changed; IdempotencyMismatch.
    """
    names = [one.instance_id for one in asked]
    if not names or len(set(names)) < len(names):
        raise InvalidParameter("Name each instance once in InstanceCreditSpecifications, and at least one")
    for one in asked:
        check_mode(one.mode)
    is_repeated = (
        bool(token) and client_tokens.replay(tx, caller, _OPERATION, token, digest=digest, now=now) is not None
    )
    done = [_modify(tx, caller, one, is_repeated=is_repeated) for one in asked]
    if token and not is_repeated:
        client_tokens.remember(tx, caller, _OPERATION, token, digest=digest, resource_id=names[0], now=now)
    return done


def _modify(
    tx: Transaction, caller: Caller, asked: CreditSpecification, *, is_repeated: bool
) -> CreditSpecification | Refusal:
    instance_id = asked.instance_id
    if not ids.is_id("instance", instance_id):
        return Refusal(instance_id, "InvalidInstanceID.Malformed", f'Invalid id: "{instance_id}"')
    instance = tx.session.get(Instance, instance_id)
    if instance is None or instance.account_id != caller.account_id:
        message = f"The instance ID '{instance_id}' does not exist"
        return Refusal(instance_id, "InvalidInstanceID.NotFound", message)
    if instance.state in _ENDED:
        message = f"The instance '{instance_id}' is not in a state from which it can be modified."
        return Refusal(instance_id, "IncorrectInstanceState", message)
    kind = instance_types.find(tx, instance.instance_type)
    if kind is None or not kind.burstable:
        message = f"The {instance.instance_type} instance type has no CPU credits."
        return Refusal(instance_id, _NOT_SUPPORTED, message)
    if not is_repeated and instance.cpu_credits != asked.mode:
        instance.cpu_credits = asked.mode
        desired_state.refresh_instance(tx, instance.id)
    return asked


def default_mode(tx: Transaction, account_id: str, family: str) -> str:
    """Return the mode of an account's new instances of a family."""
    mine = lookup.get_rare(tx, BurstableSettings, account_id)
    set_by_account = mine.default_modes.get(family) if mine is not None else None
    return set_by_account or cpu_credits.default_mode(family)


def default_of(tx: Transaction, caller: Caller, family: str) -> str:
    """Return the mode of the caller's new instances of one of EC2's families; raises InvalidParameter for others."""
    _check_family(family)
    return default_mode(tx, caller.account_id, family)


def set_default(tx: Transaction, caller: Caller, family: str, mode: str) -> None:
    """Set the mode of the caller's new instances of a family; raises InvalidParameter."""
    _check_family(family)
    check_mode(mode)
    mine = _settings(tx, caller.account_id)
    mine.default_modes = {**mine.default_modes, family: mode}


def launches_left(tx: Transaction, account_id: str, kind: InstanceType, mode: str, now: datetime) -> int:
    """Return how many launches or starts of a type are given credits now: those of an account's first 100 in a day."""
    if mode != cpu_credits.STANDARD or not cpu_credits.launch_credits(kind):
        return 0
    mine = lookup.get_rare(tx, BurstableSettings, account_id)
    return cpu_credits.LAUNCHES - (len(_recent(mine, now)) if mine is not None else 0)


def count_launches(tx: Transaction, account_id: str, number: int, now: datetime) -> None:
    """Record that so many launches or starts were given credits."""
    if number:
        mine = _settings(tx, account_id)
        mine.credited = _recent(mine, now) + [now.timestamp()] * number


def begin_start(tx: Transaction, instance: Instance, now: datetime) -> None:
    """Give an instance that is started again its launch credits, if it gets any; after too long its old ones are lost.

    To be called while it is still stopped. What it has saved, for its volumes too, counts only on a host that is new.
    """
    kind = instance_types.find(tx, instance.instance_type)
    off_seconds = (now - instance.state_changed).total_seconds() if instance.state == "stopped" else 0
    if kind is None or not kind.burstable or off_seconds >= cpu_credits.saved_seconds(kind):
        instance.saved_credits = 0
    if kind is not None and kind.ebs is not None and off_seconds > 0:
        earned = kind.ebs.earned(off_seconds)
        instance.saved_ebs_bytes = min(1000, instance.saved_ebs_bytes + round(1000 * earned[0]))
        instance.saved_ebs_iops = min(1000, instance.saved_ebs_iops + round(1000 * earned[1]))
    if kind is None or not launches_left(tx, instance.account_id, kind, instance.cpu_credits, now):
        instance.launch_credits = 0
        return
    instance.launch_credits = cpu_credits.launch_credits(kind)
    count_launches(tx, instance.account_id, 1, now)


def _recent(mine: BurstableSettings, now: datetime) -> list[float]:
    since = (now - _PERIOD).timestamp()
    return [moment for moment in mine.credited if moment > since]


def _settings(tx: Transaction, account_id: str) -> BurstableSettings:
    mine = tx.session.get(BurstableSettings, account_id)
    if mine is None:
        mine = BurstableSettings(account_id=account_id, default_modes={}, credited=[])
        tx.session.add(mine)
    return mine


def _check_family(family: str) -> None:
    if family not in cpu_credits.FAMILIES:
        raise InvalidParameter(f"Value ({family}) for parameter instanceFamily is invalid.")
