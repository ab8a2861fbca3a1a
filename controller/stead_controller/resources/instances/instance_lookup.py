"""Find the caller's instances by the ids in a request."""

from collections.abc import Sequence

from sqlalchemy import select

from stead_controller.catalog import ids
from stead_controller.db.tables import Instance
from stead_controller.errors import InvalidCombination, MalformedId, NotFound
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction


def find_instances(tx: Transaction, caller: Caller, instance_ids: Sequence[str]) -> list[Instance]:
    """Return the caller's instances in the order of the request, each once; raises MalformedId before NotFound."""
    if not instance_ids:
        raise InvalidCombination("No instances specified")
    unique = list(dict.fromkeys(instance_ids))
    for instance_id in unique:
        if not ids.is_id("instance", instance_id):
            raise MalformedId("instance", instance_id)
    query = select(Instance).where(Instance.id.in_(unique), Instance.account_id == caller.account_id)
    found = {instance.id: instance for instance in tx.session.scalars(query)}
    missing = [instance_id for instance_id in unique if instance_id not in found]
    if missing:
        raise NotFound("instance", missing)
    return [found[instance_id] for instance_id in unique]
