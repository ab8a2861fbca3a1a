"""Create accounts: isolated owners of resources, each with a root access key and a default VPC from the start."""

import secrets
from datetime import datetime
from typing import Final

from sqlalchemy import select

from stead_controller.db.tables import Account
from stead_controller.errors import AlreadyExists, InvalidParameter
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.iam import access_keys
from stead_controller.resources.iam.accounts import NewAccount
from stead_controller.resources.network.default_vpc import create_default_vpc
from stead_controller.secrets.sealing import Sealer

_NAME_LENGTH: Final = 64


def create_account(tx: Transaction, sealer: Sealer, cloud: Cloud, name: str, now: datetime) -> NewAccount:
    """Make an account with a root access key and a default VPC; raises AlreadyExists for a taken name."""
    if not name or len(name) > _NAME_LENGTH or not name.isprintable() or name != name.strip():
        raise InvalidParameter(f"An account's name has 1 to {_NAME_LENGTH} printable characters.")
    if tx.session.scalar(select(Account.id).where(Account.name == name)) is not None:
        raise AlreadyExists("account", f"There is an account named '{name}' already.")
    account_id = _free_id(tx)
    tx.session.add(Account(id=account_id, name=name, created=now))
    tx.session.flush()
    key = access_keys.add(tx, sealer, account_id, account_id, now)
    create_default_vpc(tx, cloud, account_id, now)
    return NewAccount(account_id, name, key.id, key.secret)


def _free_id(tx: Transaction) -> str:
    while True:
        account_id = f"{secrets.randbelow(9 * 10**11) + 10**11}"
        if tx.session.get(Account, account_id) is None:
            return account_id
