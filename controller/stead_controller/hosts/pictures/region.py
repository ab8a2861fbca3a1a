"""The cloud's region and the ids of its zones, as instances are told them."""

import json

from stead_controller.db.session import Transaction
from stead_controller.db.tables import CloudFact


def region_of(tx: Transaction) -> str:
    """The name of the cloud's region, as kept in its database."""
    return tx.session.get_one(CloudFact, "region").value


def zone_id_of(tx: Transaction, zone: str) -> str:
    """The id of a zone, as kept in the cloud's database; empty where none is kept."""
    kept = tx.session.get(CloudFact, "zone_ids")
    return str(json.loads(kept.value).get(zone, "")) if kept is not None else ""
