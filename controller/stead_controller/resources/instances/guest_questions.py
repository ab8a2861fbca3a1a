"""Questions about a guest's console and screen, which its host answers."""

from collections.abc import Sequence
from typing import Final

from stead_controller.db.tables import Instance
from stead_controller.errors import Unsupported, WrongState
from stead_controller.request.caller import Caller
from stead_controller.request.questions import ConsoleOutput, Interrupt, PasswordData, Question, Screenshot
from stead_controller.request.transaction import Transaction
from stead_controller.resources.instances.instance_lookup import find_instances

_PASSWORD_CHARACTERS: Final = 2048


def console_output(tx: Transaction, caller: Caller, instance_ids: Sequence[str], last_bytes: int) -> Question | None:
    """Return the question for an instance's console; None when it has no host any more."""
    instance = find_instances(tx, caller, instance_ids)[0]
    if instance.host_id is None or instance.state == "terminated":
        return None
    return ConsoleOutput(instance.host_id, instance.id, last_bytes)


def screenshot(tx: Transaction, caller: Caller, instance_id: str, *, wake_up: bool) -> Question:
    """Return the question for an instance's screen; raises WrongState when it does not run, Unsupported without one."""
    instance = find_instances(tx, caller, [instance_id])[0]
    if instance.architecture == "arm64":
        raise Unsupported(f"The instance '{instance.id}' is arm64: such instances have no screen, as on EC2.")
    return Screenshot(_host_of(instance), instance_id, wake_up)


def interrupt(tx: Transaction, caller: Caller, instance_id: str) -> Question:
    """Return what interrupts an instance's guest; raises WrongState when it is not running, Unsupported for arm64."""
    instance = find_instances(tx, caller, [instance_id])[0]
    if instance.architecture == "arm64":
        raise Unsupported(f"The instance '{instance.id}' is arm64: QEMU cannot interrupt such a guest.")
    return Interrupt(_host_of(instance), instance_id)


def _host_of(instance: Instance) -> str:
    if instance.host_id is None or instance.state != "running":
        raise WrongState("instance", f"The instance '{instance.id}' is not running.")
    return instance.host_id


def password_data(tx: Transaction, caller: Caller, instance_id: str) -> tuple[PasswordData | None, str]:
    """Return the question for an instance's password, None while it is not running, and the stored password data."""
    instance = find_instances(tx, caller, [instance_id])[0]
    known = instance.password_data or ""
    if instance.host_id is None or instance.state != "running":
        return None, known
    return PasswordData(instance.host_id, instance.id), known


def keep_password_data(tx: Transaction, caller: Caller, instance_id: str, password: str) -> str:
    """Store the password data that an instance's host found, if any, and return the stored data."""
    instance = find_instances(tx, caller, [instance_id])[0]
    if password and len(password) <= _PASSWORD_CHARACTERS:
        instance.password_data = password
    return instance.password_data or ""
