"""Policies apply to the native compute API too: its calls are authorized as EC2's operations of the same names."""

from collections.abc import Mapping
from typing import Any, Protocol

from stead_controller.aws.authorization.authorizer import PolicyAuthorizer
from stead_controller.aws.call import OPERATIONS, Call
from stead_controller.clock import Clock
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction


class Gate(Protocol):
    """Decides whether a caller may do what EC2's operation of this name does with these parameters."""

    def __call__(
        self, tx: Transaction, caller: Caller, operation: str, params: Mapping[str, Any], *, source_ip: str
    ) -> None:
        """Raise NotAuthorized to refuse."""


def native_gate(authorizer: PolicyAuthorizer, cloud: Cloud, clock: Clock) -> Gate:
    """Return the check that the native API calls; its connections always use TLS."""

    def ask(tx: Transaction, caller: Caller, operation: str, params: Mapping[str, Any], *, source_ip: str) -> None:
        call = Call(
            caller=caller,
            tx=tx,
            cloud=cloud,
            request_id="",
            now=clock(),
            source_ip=source_ip,
            user_agent="",
            secure=True,
        )
        authorizer.authorize(call, OPERATIONS["ec2", operation], params)

    return ask
