"""Dedicated Hosts and Dedicated Instances of the tenants of a world."""

from typing import Any

from sqlalchemy import select

from stead_controller.db.tables import DedicatedHost, Host
from stead_controller.request.client_tokens import Repeatable
from stead_controller.request.conditions import Selection
from stead_controller.resources.fleet import dedicated_hosts
from stead_controller.resources.fleet.dedicated_hosts import (
    DedicatedHostChange,
    DedicatedHostRequest,
    DescribedDedicatedHost,
    TypesRequest,
)
from stead_controller.resources.instances.instance_tenancies import TenancyRequest
from tests.support.life import Life
from tests.support.rows import CLOUD, NOW

TYPE = "stead.tiny"
DEDICATED = TenancyRequest("dedicated")
HOST = TenancyRequest("host")


def on(host_id: str, affinity: str | None = None) -> TenancyRequest:
    """What a launch on one Dedicated Host asks for."""
    return TenancyRequest("host", host_id, affinity)


def allocate(life: Life, count: int | None = 1, *, caller: Any = None, **changes: Any) -> list[str]:
    """Allocate hosts for the first tenant, or another caller; gives their ids."""
    values: dict[str, Any] = {
        "types": TypesRequest(TYPE),
        "count": count,
        "zone": "us-east-1a",
        "zone_id": None,
        "auto_placement": "off",
        "tags": {},
        "repeatable": Repeatable("AllocateHosts", "", ""),
    }
    request = DedicatedHostRequest(**values | changes)
    return list(life.run(dedicated_hosts.allocate, caller or life.caller, CLOUD, request, NOW))


def change(
    life: Life, host_id: str, auto_placement: str | None = None, kind: str | None = None, family: str | None = None
) -> str | None:
    """Change a host; gives the code of the error, if there is one."""
    asked = DedicatedHostChange(auto_placement, TypesRequest(kind, family))
    [outcome] = life.run(dedicated_hosts.modify, life.caller, [host_id], asked)
    return None if outcome.error is None else (outcome.error.code or type(outcome.error).__name__)


def release(life: Life, host_id: str, *, caller: Any = None) -> str | None:
    """Release a host; gives the code of the error, if there is one."""
    [outcome] = life.run(dedicated_hosts.release, caller or life.caller, [host_id], NOW)
    return None if outcome.error is None else (outcome.error.code or type(outcome.error).__name__)


def described(life: Life, host_id: str) -> DescribedDedicatedHost:
    [found] = life.run(dedicated_hosts.describe, life.caller, CLOUD, Selection(ids=(host_id,)))
    assert isinstance(found, DescribedDedicatedHost)
    return found


def machine_of(life: Life, host_id: str) -> str:
    """The host of the cloud that a Dedicated Host is."""
    return str(life.run(lambda tx: tx.session.get_one(DedicatedHost, host_id).host_id))


def owners(life: Life) -> dict[str, tuple[str | None, str | None]]:
    """The account and the Dedicated Host of each host."""
    query = select(Host.id, Host.owner_account_id, Host.dedicated_host_id)
    return {row[0]: (row[1], row[2]) for row in life.run(lambda tx: tx.session.execute(query).all())}
