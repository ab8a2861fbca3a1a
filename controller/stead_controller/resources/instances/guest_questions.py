"""What a guest shows on its console and screen: whom to ask for it."""

from collections.abc import Sequence
from typing import Final

from stead_controller.request.caller import Caller
from stead_controller.request.questions import ConsoleOutput, PasswordData, Question, Screenshot
from stead_controller.request.transaction import Transaction
from stead_controller.resources.instances.instance_lookup import find_instances

_PASSWORD_CHARACTERS: Final = 2048


def console_output(tx: Transaction, caller: Caller, instance_ids: Sequence[str], last_bytes: int) -> Question | None:
    """Find out whom to ask for an instance's console; None when it has no host any more."""
    instance = find_instances(tx, caller, instance_ids)[0]
    if instance.host_id is None or instance.state == "terminated":
        return None
    return ConsoleOutput(instance.host_id, instance.id, last_bytes)


def screenshot(tx: Transaction, caller: Caller, instance_ids: Sequence[str]) -> Question | None:
    """Find out whom to ask for an instance's screen; None when it is not running."""
    instance = find_instances(tx, caller, instance_ids)[0]
    if instance.host_id is None or instance.state != "running":
        return None
    return Screenshot(instance.host_id, instance.id)


def password_data(tx: Transaction, caller: Caller, instance_id: str) -> tuple[PasswordData | None, str]:
    """Find out whom to ask for an instance's password, None while it does not run, and give what is known of it."""
    instance = find_instances(tx, caller, [instance_id])[0]
    known = instance.password_data or ""
    if instance.host_id is None or instance.state != "running":
        return None, known
    return PasswordData(instance.host_id, instance.id), known


def keep_password_data(tx: Transaction, caller: Caller, instance_id: str, password: str) -> str:
    """Keep what an instance's host found, unless it found nothing, and give what is known of the password now."""
    instance = find_instances(tx, caller, [instance_id])[0]
    if password and len(password) <= _PASSWORD_CHARACTERS:
        instance.password_data = password
    return instance.password_data or ""
