"""Turns a state directory into a cloud: CA, database, master key, and the first account with its access key."""

import json
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy import select

from stead_controller.db.schema import Run, bring_up_to_date, here
from stead_controller.db.session import Database, Transaction
from stead_controller.db.tables import Account
from stead_controller.request.cloud import cloud_of
from stead_controller.resources.iam.accounts import NewAccount
from stead_controller.resources.network import unclaimed_addresses
from stead_controller.resources.operators import cloud_facts, sealed_rows
from stead_controller.resources.operators.create_account import create_account
from stead_controller.room import Room
from stead_controller.secrets import access_files
from stead_controller.secrets.identity_signer import IdentitySigner
from stead_controller.secrets.master_key import MasterKey, require_opening
from stead_controller.settings import Settings
from stead_proto import recovery
from stead_proto.certificates import Authority
from stead_proto.tls import write_private, write_public

FIRST_ACCOUNT: Final = "default"


def initialise(settings: Settings, now: datetime, run: Run = here) -> None:
    """Create what is missing of a cloud, or ends soon; a second run changes nothing. `run` calls what migrates.

    Writes ca.pem for clients, instance-identity.pem to verify identity documents with, operator.pem and
    operator-key.pem for operators, and credentials.json with the first account's key: the last two readable by their
    owner only.
    """
    state_dir = settings.state_dir
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    Room(state_dir).begin()
    authority = Authority.load_or_create(state_dir / "ca")
    access_files.write(state_dir, authority)
    signer = IdentitySigner.load_or_create(state_dir / "ca", authority)
    write_public(state_dir / "instance-identity.pem", signer.certificate_pem)
    sealer = MasterKey.of(settings).sealer
    database = Database(settings.database)
    try:
        bring_up_to_date(database.engine, run, copies=state_dir)
        require_opening(database.run_blocking(lambda tx: sealed_rows.unreadable(tx, sealer), writes=False))

        def first_account(tx: Transaction) -> NewAccount | None:
            cloud_facts.write(tx, cloud_of(settings))
            if recovery.has_begun(state_dir):
                unclaimed_addresses.await_hosts(tx)
            if tx.session.scalar(select(Account.id).where(Account.name == FIRST_ACCOUNT)) is not None:
                return None
            made = create_account(tx, sealer, cloud_of(settings), FIRST_ACCOUNT, now)
            # Written before the commit: a crash in between leaves a file that the next try replaces.
            _write_credentials(state_dir / "credentials.json", made)
            return made

        database.run_blocking(first_account)
        recovery.noted(state_dir)
    finally:
        database.close()


def _write_credentials(path: Path, account: NewAccount) -> None:
    content = {
        "account_id": account.account_id,
        "access_key_id": account.access_key_id,
        "secret_access_key": account.secret_access_key,
    }
    write_private(path, json.dumps(content, indent=2).encode() + b"\n")
