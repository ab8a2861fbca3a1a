"""Tags of alarms and dashboards, by their ARNs."""

import json
from collections.abc import Iterable, Mapping
from typing import Final

from stead_controller.db.tables import Alarm, Dashboard
from stead_controller.errors import NotFound
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.metrics.tag_rules import check_tags

_ABSENT: Final = "ResourceNotFoundException"


def tags_of(tx: Transaction, caller: Caller, cloud: Cloud, arn: str) -> dict[str, str]:
    """Return the tags of a resource; raises NotFound."""
    tags: dict[str, str] = json.loads(_find(tx, caller, cloud, arn).tags)
    return tags


def look_up(tx: Transaction, caller: Caller, cloud: Cloud, arn: str) -> dict[str, str]:
    """Return the tags of a resource, none of one that is not there."""
    row = _row(tx, caller, cloud, arn)
    tags: dict[str, str] = {} if row is None else json.loads(row.tags)
    return tags


def tag(tx: Transaction, caller: Caller, cloud: Cloud, arn: str, tags: Mapping[str, str]) -> None:
    """Set tags of a resource; raises NotFound, InvalidParameter."""
    row = _find(tx, caller, cloud, arn)
    changed = {**json.loads(row.tags), **tags}
    check_tags(changed)
    row.tags = json.dumps(changed, sort_keys=True)


def untag(tx: Transaction, caller: Caller, cloud: Cloud, arn: str, keys: Iterable[str]) -> None:
    """Delete tags of a resource; raises NotFound."""
    row = _find(tx, caller, cloud, arn)
    doomed = set(keys)
    remaining = {key: value for key, value in json.loads(row.tags).items() if key not in doomed}
    row.tags = json.dumps(remaining, sort_keys=True)


def _row(tx: Transaction, caller: Caller, cloud: Cloud, arn: str) -> Alarm | Dashboard | None:
    alarm = f"arn:{cloud.partition}:cloudwatch:{cloud.region}:{caller.account_id}:alarm:"
    if arn.startswith(alarm):
        return tx.session.get(Alarm, (caller.account_id, arn.removeprefix(alarm)))
    dashboard = f"arn:{cloud.partition}:cloudwatch::{caller.account_id}:dashboard/"
    if arn.startswith(dashboard):
        return tx.session.get(Dashboard, (caller.account_id, arn.removeprefix(dashboard)))
    return None


def _find(tx: Transaction, caller: Caller, cloud: Cloud, arn: str) -> Alarm | Dashboard:
    row = _row(tx, caller, cloud, arn)
    if row is None:
        raise NotFound("resource", arn, code=_ABSENT, message=f"Unknown resource: {arn}")
    return row
