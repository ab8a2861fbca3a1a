"""What a launch answers, of the rows that it has just added: nothing is read again."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

from stead_controller.db.tables import Instance, NetworkInterface
from stead_controller.desired.messages.instance import Parts
from stead_controller.desired.messages.interface import Belongings
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.instances import instances
from stead_controller.resources.instances.instances import Batch, DescribedReservation, Row
from stead_controller.resources.instances.run_instances import Launched


def described(tx: Transaction, caller: Caller, cloud: Cloud, launched: Launched) -> DescribedReservation:
    """Return a launch with its details as `instances.reservation` would, which reads what is not known."""
    made = launched.made
    if not made or not all(_is_known(instance, parts) for instance, parts in made):
        return instances.reservation(tx, caller, cloud, launched.reservation_id)
    batch = Batch(
        cloud,
        interfaces={
            instance.id: [_interface(each, parts.belongings[each.id]) for each in parts.interfaces]
            for instance, parts in made
        },
        held={},
        groups={
            interface_id: list(known.groups.items())
            for _, parts in made
            for interface_id, known in parts.belongings.items()
        },
        volumes={instance.id: cast("Sequence[Row]", parts.volumes) for instance, parts in made},
        tags={instance.id: sorted((parts.tags or {}).items()) for instance, parts in made},
        profiles={},
    )
    members = [(_instance(row), batch) for row, _ in sorted(made, key=lambda one: one[0].launch_index)]
    return DescribedReservation(launched.reservation_id, caller.account_id, members)


def _is_known(instance: Instance, parts: Parts) -> bool:
    """Tell whether all is known of an instance: it has no profile, and only new interfaces of one address."""
    return instance.profile_association_id is None and len(parts.belongings) == len(parts.interfaces)


def _instance(row: Instance) -> Any:
    """Return an instance's columns by their names, as they are read for an answer."""
    return SimpleNamespace(**{**vars(row), "tpm": row.sealed_tpm_key is not None})


def _interface(row: NetworkInterface, known: Belongings) -> Any:
    """Return an interface's columns with what is read beside them: an automatic address is Amazon's."""
    _, hostnames = known.names
    beside = {"public_address": known.public, "public_owner": "amazon", "named": all(known.names)}
    return SimpleNamespace(**{**vars(row), **beside, "host_names": hostnames})
