"""Public keys that a user of an instance's system may log in with for a minute: its host shows them in its metadata.

No key is stored in the database: its host has it as soon as the caller has the answer, and a minute later nobody.
"""

import re
from dataclasses import dataclass
from typing import Final

from stead_controller.errors import InvalidParameter, NotFound, WrongState
from stead_controller.request.caller import Caller
from stead_controller.request.questions import PushedKey
from stead_controller.request.transaction import Transaction
from stead_controller.resources.instances import public_keys
from stead_controller.resources.instances.instance_lookup import find_instances

SECONDS: Final = 60

# The model's pattern of InstanceOSUser: a name, or one that begins with digits.
_OS_USER: Final = re.compile(
    r"[A-Za-z_][A-Za-z0-9@._-]{0,30}[A-Za-z0-9$_-]?|(?=.{2,32}\Z)[0-9]{1,32}[A-Za-z@._-][A-Za-z0-9@._-]*[A-Za-z0-9$_-]?"
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """SendSSHPublicKeyRequest."""

    instance_id: str
    os_user: str
    material: str
    zone: str | None


def push(tx: Transaction, caller: Caller, wanted: Wanted, request_id: str) -> PushedKey:
    """Return the question by which the instance's host shows the key to it.

    Raises InvalidParameter, NotFound (in the given zone), and WrongState for an instance that does not run.
    """
    if not _OS_USER.fullmatch(wanted.os_user):
        raise InvalidParameter(f"Invalid instance OS user: {wanted.os_user}")
    key = public_keys.read(wanted.material.encode())
    instance = find_instances(tx, caller, [wanted.instance_id])[0]
    if wanted.zone not in (None, instance.zone):
        raise NotFound("instance", instance.id)
    if instance.state != "running" or instance.host_id is None:
        raise WrongState(
            "instance", f"The instance '{instance.id}' is {instance.state}: it must run to be connected to."
        )
    return PushedKey(
        host_id=instance.host_id,
        instance_id=instance.id,
        os_user=wanted.os_user,
        openssh=key.openssh,
        seconds=SECONDS,
        caller=caller.arn,
        request_id=request_id,
    )
