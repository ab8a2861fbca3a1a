"""What new interfaces of a launch have beside their rows: read once for all of them, and not again for the answer."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import bindparam, select

from stead_controller.db.prepared import Prepared
from stead_controller.db.tables import SecurityGroup, Vpc
from stead_controller.desired.messages.interface import Belongings
from stead_controller.request.transaction import Transaction
from stead_controller.resources.instances.launch_interfaces import InterfacePlan
from stead_controller.resources.network.network_interface_life import has_one_address

_GROUPS: Final = Prepared(
    select(SecurityGroup.id, SecurityGroup.name, Vpc.dns_support, Vpc.dns_hostnames)
    .join(Vpc, Vpc.id == SecurityGroup.vpc_id)
    .where(SecurityGroup.id.in_(bindparam("ids", expanding=True)))
    .order_by(SecurityGroup.id)
)


class LaunchBelongings:
    """The groups of a launch's new interfaces, with what their VPC says of names."""

    def __init__(self, tx: Transaction, plans: Sequence[InterfacePlan]) -> None:
        """Read the groups of those interfaces whose belongings can be known."""
        ids = sorted({group_id for plan in plans if _is_simple(plan) for group_id in plan.group_ids})
        rows = _GROUPS.all(tx.connection, {"ids": ids}) if ids else []
        self._groups = {group_id: name for group_id, name, _, _ in rows}  # in the order of their ids
        self._names = {group_id: (support, hostnames) for group_id, _, support, hostnames in rows}

    def of(self, plan: InterfacePlan, public: str | None) -> Belongings | None:
        """Return what an interface of a plan has, with this public address; None where it must be read."""
        if not _is_simple(plan):
            return None
        groups = {group_id: name for group_id, name in self._groups.items() if group_id in plan.group_ids}
        return Belongings(groups, public, self._names[plan.group_ids[0]])


def _is_simple(plan: InterfacePlan) -> bool:
    """Tell whether an interface is new and has one private address."""
    return plan.existing is None and has_one_address(plan.subnet, plan.request.addresses)
