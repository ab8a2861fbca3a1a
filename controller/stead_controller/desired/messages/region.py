"""The cloud's region and the ids of its zones, as they are shown to instances."""

import json
from typing import Any, Final

from sqlalchemy import select

from stead_controller.db.prepared import Prepared
from stead_controller.db.session import Transaction
from stead_controller.db.tables import CloudFact

FACTS: Final = Prepared(select(CloudFact.name, CloudFact.value).where(CloudFact.name.in_(("region", "zone_ids"))))

"""Asks for all that is here."""


def region_of(tx: Transaction) -> str:
    """The name of the cloud's region, as stored in its database."""
    region: str = _facts(tx)["region"]
    return region


def zone_id_of(tx: Transaction, zone: str) -> str:
    """The id of a zone, as stored in the cloud's database; empty where none is stored."""
    return str(_facts(tx).get("zone_ids", {}).get(zone, ""))


def _facts(tx: Transaction) -> dict[str, Any]:
    """Read both once per transaction: every interface and instance is built with them."""
    found: dict[str, Any] = tx.facts.get("region", {})
    if not found:
        if any(isinstance(row, CloudFact) for row in tx.session.new):
            tx.session.flush()  # else what a caller has changed, and is not checked yet, would be written for it
        rows: dict[str, str] = dict(FACTS.all(tx.connection, {}))
        found = {"region": rows["region"], "zone_ids": json.loads(rows.get("zone_ids", "{}"))}
        tx.facts["region"] = found
    return found
