"""EC2 Instance Connect's operations: each is on an instance, with EC2's ARN."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from stead_controller.aws.authorization.rule import Asked, Check, Rule, named, rule

_INSTANCE: Final = named("instance", "InstanceId")


def _for_user(asked: Asked) -> Iterator[Check]:
    """Check the instance, with the user of its system who may log in."""
    for check in _INSTANCE(asked):
        context = {"ec2:osuser": asked.params.get("InstanceOSUser")}
        yield replace(check, target=replace(check.target, context=context))


RULES: Final[dict[str, Rule]] = {
    "SendSerialConsoleSSHPublicKey": rule(_INSTANCE),
    "SendSSHPublicKey": rule(_for_user),
}
