"""The instances of a group as they are now: their rows, what EC2 says of them, and the hooks they wait for."""

from collections.abc import Mapping, Sequence

from sqlalchemy import or_, select

from stead_controller.db.tables import Instance, ScalingInstance, Volume
from stead_controller.request import lookup
from stead_controller.request.transaction import Transaction
from stead_controller.resources.instances.instance_status import INSTANCE_STATUS, SYSTEM_STATUS
from stead_controller.resources.scaling import lifecycle_hooks
from stead_controller.resources.scaling.member import OFF, Member, Source
from stead_controller.resources.scaling.plan import Seen, Wait
from stead_controller.resources.storage import volume_status

_IMPAIRED = or_(INSTANCE_STATUS == "impaired", SYSTEM_STATUS.in_(("impaired", "insufficient-data")))


def rows(tx: Transaction, group_id: str) -> Sequence[ScalingInstance]:
    """Return the instances of a group, by id."""
    query = select(ScalingInstance).where(ScalingInstance.group_id == group_id)
    return tx.session.scalars(query.order_by(ScalingInstance.instance_id)).all()


def seen(tx: Transaction, members: Mapping[str, ScalingInstance]) -> list[Seen]:
    """Return what is known of instances, in the same order."""
    known: dict[str, tuple[str, bool]] = {}
    for batch in lookup.batches(list(members)):
        query = select(Instance.id, Instance.state, _IMPAIRED).where(Instance.id.in_(batch))
        known |= {found: (state, bool(impaired)) for found, state, impaired in tx.session.execute(query)}
    waits = lifecycle_hooks.waits(tx, [each for each, row in members.items() if row.lifecycle_state.endswith(":Wait")])
    broken = _broken(tx, [each for each, row in members.items() if row.lifecycle_state in OFF])
    return [
        _seen(row, known.get(each, (None, False)), waits.get(each, ()), broken=each in broken)
        for each, row in members.items()
    ]


def _broken(tx: Transaction, instance_ids: Sequence[str]) -> set[str]:
    """Return those of stopped instances that have an impaired volume."""
    found: set[str] = set()
    for batch in lookup.batches(instance_ids):
        theirs = select(Volume.instance_id).where(Volume.instance_id.in_(batch), volume_status.STATUS == "impaired")
        found.update(tx.session.scalars(theirs))
    return found


def _seen(row: ScalingInstance, known: tuple[str | None, bool], waits: Sequence[Wait], *, broken: bool) -> Seen:
    state, impaired = known
    is_sick = broken or (impaired and state == "running")
    return Seen(member_of(row), state, is_sick, row.in_service, row.until, tuple(waits))


def member_of(row: ScalingInstance) -> Member:
    """Return an instance as pure functions see it."""
    return Member(
        id=row.instance_id,
        zone=row.zone,
        lifecycle_state=row.lifecycle_state,
        healthy=row.healthy,
        protected=row.protected,
        launched=row.launched,
        source=source(row.template_id, row.template_version, row.configuration),
        instance_type=row.instance_type,
        lifecycle="spot" if row.spot else "on-demand",
        weight=row.weight,
    )


def source(template_id: str | None, version: int | None, configuration: str | None) -> Source:
    """Return what an instance was launched from; of one that was attached it is not known."""
    return configuration if configuration is not None else (template_id or "", version or 0)


def state_reason(tx: Transaction, instance_id: str) -> str:
    """Return why an instance is in its state, in EC2's words."""
    return tx.session.scalar(select(Instance.state_reason_message).where(Instance.id == instance_id)) or ""
