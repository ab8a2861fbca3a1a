"""Put, show, list, tag and delete dashboards.

See https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutDashboard.html.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import delete, func, select

from stead_controller.db.tables import Dashboard
from stead_controller.errors import InvalidParameter, LimitExceeded, NotFound
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.metrics import dashboard_body
from stead_controller.resources.metrics.dashboard_body import Remark
from stead_controller.resources.metrics.tag_rules import check_tags

PER_ACCOUNT: Final = 5000
"""Dashboards of an account, which AWS does not limit; ours keep their bodies in the controller's database."""

PAGE: Final = 100
"""Dashboards of one answer of ListDashboards."""

_NAME: Final = re.compile(r"[0-9A-Za-z_-]{1,255}\Z")


@dataclass(frozen=True, slots=True)
class DashboardEntry:
    """A dashboard as lists show it; `size` is the body's, in bytes."""

    name: str
    arn: str
    size: int
    modified: datetime


def put(  # noqa: PLR0917 - a dashboard's members
    tx: Transaction, caller: Caller, name: str, body: str, tags: Mapping[str, str], now: datetime
) -> list[Remark]:
    """Make or replace a dashboard; returns remarks on its body. Raises InvalidParameter, LimitExceeded.

    Tags are of a new one; of one that is there, the request's are not looked at.
    """
    _check_name(name)
    remarks = dashboard_body.check(body)
    row = tx.session.get(Dashboard, (caller.account_id, name))
    if row is None:
        check_tags(tags)
        mine = select(func.count()).where(Dashboard.account_id == caller.account_id)
        if tx.session.scalars(mine).one() >= PER_ACCOUNT:
            raise LimitExceeded(f"An account may have at most {PER_ACCOUNT} dashboards.")
        row = Dashboard(account_id=caller.account_id, name=name, tags=json.dumps(dict(tags), sort_keys=True))
        tx.session.add(row)
    row.body, row.size, row.modified = body, len(body.encode()), now
    tx.session.flush()
    return remarks


def body_of(tx: Transaction, caller: Caller, name: str) -> str:
    """Return a dashboard's body; raises NotFound, InvalidParameter."""
    _check_name(name)
    row = tx.session.get(Dashboard, (caller.account_id, name))
    if row is None:
        raise absent(name)
    return row.body


def search(
    tx: Transaction, caller: Caller, cloud: Cloud, prefix: str, *, after: str | None, limit: int
) -> list[DashboardEntry]:
    """List dashboards whose names begin with a prefix, sorted by name."""
    if prefix:
        _check_name(prefix)
    columns = Dashboard.name, Dashboard.size, Dashboard.modified
    mine = select(*columns).where(Dashboard.account_id == caller.account_id, Dashboard.name >= prefix)
    mine = mine.where(func.substr(Dashboard.name, 1, len(prefix)) == prefix)
    if after is not None:
        mine = mine.where(Dashboard.name > after)
    found = tx.session.execute(mine.order_by(Dashboard.name).limit(limit))
    return [DashboardEntry(name, arn_of(cloud, caller, name), size, modified) for name, size, modified in found]


def remove(tx: Transaction, caller: Caller, names: Sequence[str]) -> None:
    """Delete dashboards; if one of them is not there, none is deleted. Raises NotFound, InvalidParameter."""
    if not names:
        raise InvalidParameter("DashboardNames must have a name at least.", code="InvalidParameterValue")
    for name in names:
        _check_name(name)
        if tx.session.get(Dashboard, (caller.account_id, name)) is None:
            raise absent(name)
    doomed = delete(Dashboard).where(Dashboard.account_id == caller.account_id, Dashboard.name.in_(names))
    tx.session.execute(doomed)


def arn_of(cloud: Cloud, caller: Caller, name: str) -> str:
    """Return a dashboard's ARN, which has no region."""
    return f"arn:{cloud.partition}:cloudwatch::{caller.account_id}:dashboard/{name}"


def absent(name: str) -> NotFound:
    """Return the error of a dashboard that is not there."""
    return NotFound("dashboard", name, code="DashboardNotFoundError", message=f"Dashboard {name} does not exist")


def _check_name(name: str) -> None:
    if not _NAME.match(name):
        message = "The dashboard's name may have letters, digits, - and _, from 1 to 255."
        raise InvalidParameter(message, code="InvalidParameterValue")
