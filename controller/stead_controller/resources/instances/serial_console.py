"""Access to serial consoles by SSH: an account's setting, and keys that are pushed for a minute.

EC2's console belongs to the account: without EnableSerialConsoleAccess nobody may push a key, and a key that was pushed
before is good no longer.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete

from stead_controller.db.tables import Instance, SerialConsoleAccess, SerialConsoleKey
from stead_controller.errors import InvalidParameter, NotAuthorized, WrongState
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.instances import public_keys
from stead_controller.resources.instances.instance_lookup import find_instances
from stead_controller.resources.instances.public_keys import PublicKey

LIFETIME: Final = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Console:
    """An instance that runs, and its host."""

    instance_id: str
    host_id: str


def has_access(tx: Transaction, account_id: str) -> bool:
    """Tell whether an account allows its serial consoles to be used."""
    return tx.session.get(SerialConsoleAccess, account_id) is not None


def set_access(tx: Transaction, caller: Caller, *, enabled: bool) -> bool:
    """Allow the caller's account its serial consoles, or no longer; return what holds now."""
    found = tx.session.get(SerialConsoleAccess, caller.account_id)
    if enabled and found is None:
        tx.session.add(SerialConsoleAccess(account_id=caller.account_id))
    elif not enabled and found is not None:
        tx.session.delete(found)
    return enabled


def check_key(tx: Transaction, caller: Caller, instance_id: str, material: str) -> tuple[Console, PublicKey]:
    """Return the console that a key is to open; raises InvalidParameter, NotFound, NotAuthorized and WrongState."""
    key = public_keys.read(material.encode())
    instance = find_instances(tx, caller, [instance_id])[0]
    if not has_access(tx, caller.account_id):
        raise NotAuthorized(
            "Your account is not authorized to use the EC2 Serial Console. To authorize your account, run the "
            "EnableSerialConsoleAccess API.",
            code="SerialConsoleAccessDisabledException",
        )
    return _running(instance), key


def push_key(tx: Transaction, console: Console, key: PublicKey, now: datetime) -> None:
    """Let a key open a console for a minute from now."""
    tx.session.execute(delete(SerialConsoleKey).where(SerialConsoleKey.expires <= now))
    tx.session.merge(
        SerialConsoleKey(
            instance_id=console.instance_id,
            fingerprint=key.fingerprint,
            public_key=key.openssh,
            expires=now + LIFETIME,
        )
    )


def opened_by(tx: Transaction, instance_id: str, openssh: str, now: datetime) -> Console | None:
    """Return the console that a key opens now; None if it opens none."""
    try:
        fingerprint = public_keys.read(openssh.encode()).fingerprint
    except InvalidParameter:
        return None
    found = tx.session.get(SerialConsoleKey, (instance_id, fingerprint))
    if found is None or found.expires <= now:
        return None
    instance = tx.session.get_one(Instance, instance_id)
    if not has_access(tx, instance.account_id):
        return None
    try:
        return _running(instance)
    except WrongState:
        return None


def of_operator(tx: Transaction, instance_id: str) -> Console | None:
    """Return the console of an instance of any account; None if there is no such instance. Raises WrongState."""
    instance = tx.session.get(Instance, instance_id)
    return None if instance is None else _running(instance)


def _running(instance: Instance) -> Console:
    if instance.state != "running" or instance.host_id is None:
        raise WrongState(
            "instance", f"The instance '{instance.id}' must run to be connected to: it is {instance.state}."
        )
    return Console(instance.id, instance.host_id)
