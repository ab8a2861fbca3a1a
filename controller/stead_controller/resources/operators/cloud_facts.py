"""What the database stores about the cloud itself: an upgraded or restored controller goes on with it."""

import json
import secrets

from sqlalchemy import select

from stead_controller.db.tables import CloudFact
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.request.zones import zone_ids


def write(tx: Transaction, cloud: Cloud) -> bytes:
    """Write the facts that the database must store about the cloud, and return the key that seals NextTokens."""
    facts = {row.name: row for row in tx.session.scalars(select(CloudFact))}
    for name, value in (("epoch", secrets.token_hex(8)), ("page_key", secrets.token_hex(32))):
        if name not in facts:
            facts[name] = CloudFact(name=name, value=value)
            tx.session.add(facts[name])
    facts_of_cloud = {"region": cloud.region, "zone_ids": json.dumps(zone_ids(cloud))}
    for name, value in facts_of_cloud.items():
        if name not in facts:
            tx.session.add(CloudFact(name=name, value=value))
        else:
            facts[name].value = value
    return bytes.fromhex(facts["page_key"].value)
