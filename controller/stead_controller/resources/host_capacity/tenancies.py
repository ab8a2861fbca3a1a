"""With whom hosts are shared: a host is for all accounts, or for one, for a while or as its Dedicated Host.

A host that has nothing reserved goes to the account of the first instance of the tenancy `dedicated` there, and back
to all when its last one has left: both are part of the UPDATE that changes what is reserved, so no other instance comes
in between. A Dedicated Host belongs to its account until it is released.
"""

from typing import Any, Final

from sqlalchemy import ColumnElement, String, and_, bindparam, case, func, null, or_, update

from stead_controller.db.tables import Host
from stead_controller.placement.tenancy import DEDICATED, DEFAULT, HOST, OWN, Tenancy
from stead_controller.request.transaction import Transaction

_KIND: Final = bindparam("tenancy", type_=String)
_ACCOUNT: Final = bindparam("owner", type_=String)

EMPTY: Final = and_(Host.cpus_reserved == 0, Host.memory_reserved == 0)
"""Whether nothing is reserved on a host, neither by instances nor by capacity reservations."""

ALLOWS: Final = or_(
    and_(_KIND == DEFAULT, Host.owner_account_id.is_(None)),
    and_(_KIND == DEDICATED, Host.owner_account_id.is_(None), EMPTY),
    and_(_KIND.in_((DEDICATED, OWN)), Host.dedicated_host_id.is_(None), Host.owner_account_id == _ACCOUNT),
    and_(_KIND == HOST, Host.dedicated_host_id.is_not(None), Host.owner_account_id == _ACCOUNT),
)
"""Whether a tenancy may have a host, by the parameters of `asked_by`; which of the Dedicated Hosts, filters say."""

IS_STILL: Final = and_(ALLOWS, func.coalesce(Host.dedicated_host_id, "") == bindparam("dedicated_host", type_=String))
"""Whether it may still have the host that was chosen; `dedicated_host` is the id of its Dedicated Host, or empty."""

OWNER_THEN: Final = case((_KIND == DEDICATED, _ACCOUNT), else_=Host.owner_account_id)
"""Whose the host is when such an instance has come."""


def asked_by(tenancy: Tenancy) -> dict[str, Any]:
    """Return the parameters of what a tenancy asks of a host."""
    return {"tenancy": tenancy.kind, "owner": tenancy.account_id}


def owner_without(vcpus: int, memory: int) -> ColumnElement[Any]:
    """Return whose a host is when so much less is reserved on it."""
    last = and_(Host.dedicated_host_id.is_(None), Host.cpus_reserved - vcpus <= 0, Host.memory_reserved - memory <= 0)
    return case((last, null()), else_=Host.owner_account_id)


def give(tx: Transaction, host_id: str, account_id: str, dedicated_host_id: str) -> bool:
    """Make a host on which nothing is reserved an account's Dedicated Host; tells whether it still could be given."""
    given = (
        update(Host)
        .where(
            Host.id == host_id,
            Host.state == "up",
            Host.schedulable.is_(True),
            Host.owner_account_id.is_(None),
            EMPTY,
        )
        .values(owner_account_id=account_id, dedicated_host_id=dedicated_host_id)
        .returning(Host.id)
        .execution_options(synchronize_session=False)
    )
    return tx.session.scalar(given) is not None


def take_back(tx: Transaction, host_id: str, dedicated_host_id: str) -> bool:
    """End that a host is a Dedicated Host, if nothing is reserved on it; tells whether that was so."""
    taken = (
        update(Host)
        .where(Host.id == host_id, Host.dedicated_host_id == dedicated_host_id, EMPTY)
        .values(owner_account_id=None, dedicated_host_id=None)
        .returning(Host.id)
        .execution_options(synchronize_session=False)
    )
    return tx.session.scalar(taken) is not None
