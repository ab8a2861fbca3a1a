"""The cloud's region, as the names of all instances need it."""

from stead_controller.db.session import Transaction
from stead_controller.db.tables import CloudFact


def region_of(tx: Transaction) -> str:
    """The name of the cloud's region, as kept in its database."""
    return tx.session.get_one(CloudFact, "region").value
