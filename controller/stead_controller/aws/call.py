"""What an operation receives, and the table of all operations.

An operation is a plain function `(call, params) -> result`: `params` and `result` are dicts in the shape of botocore's
service model for that operation (absent members are absent, or None in a result; blobs are bytes, timestamps are aware
datetimes). It runs in a worker thread inside one transaction, `call.tx`, which it passes on to
`stead_controller.resources` and never uses directly.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from stead_controller.errors import NotAuthorized
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.questions import HostAnswer, Question
from stead_controller.request.transaction import Transaction
from stead_controller.resources.network.vpc_endpoint_access import Via

Params = Mapping[str, Any]
Result = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated and authorized API call.

    `secure` tells whether it came through TLS. `page_key` seals NextTokens (only `aws/describe.py` uses it).
    `prepared` is the result of the operation's `prepare`. `host` is the address, and the port if any, that the caller
    used; `via` the VPC endpoint through which it came, if any: `source_ip` is then a private address. `chosen` is what
    authorization has chosen in this transaction, by the operation's name; the operation uses the same. `refused` are
    the parts of the request that the caller may not make, by their keys, where the others are carried out.
    """

    caller: Caller
    tx: Transaction
    cloud: Cloud
    request_id: str
    now: datetime
    source_ip: str
    user_agent: str
    page_key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    prepared: Any = field(default=None, repr=False)
    secure: bool = False
    host: str = ""
    via: Via | None = None
    chosen: dict[str, Any] = field(default_factory=dict, repr=False)
    refused: dict[str, NotAuthorized] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Later:
    """A result that depends on a host: the host is asked after the transaction, then `finish` makes the result."""

    question: Question
    finish: Callable[[HostAnswer], Result]


@dataclass(frozen=True, slots=True)
class Then:
    """A question to ask after the transaction, and the change that follows from the answer, in its own transaction."""

    question: Question
    change: Callable[[Call, HostAnswer], Result]


Handler = Callable[[Call, Params], Result | Later | Then]


@dataclass(frozen=True, slots=True)
class Operation:
    """An AWS operation that Stead implements; `writes` may depend on the request's parameters.

    One that `makes_room`, because it deletes large data, is allowed on a disk that is too full for others.
    """

    service: str
    name: str
    handler: Handler
    writes: bool | Callable[[Params], bool]
    prepare: Callable[[Params], Any] | None = None
    signed: bool = True
    makes_room: bool = False

    def changes(self, params: Params) -> bool:
        """Tell whether a request needs a transaction that writes."""
        return self.writes(params) if callable(self.writes) else self.writes


OPERATIONS: Final[dict[tuple[str, str], Operation]] = {}


def operation(
    name: str,
    *,
    service: str = "ec2",
    writes: bool | Callable[[Params], bool] = True,
    signed: bool = True,
    prepare: Callable[[Params], Any] | None = None,
    makes_room: bool = False,
) -> Callable[[Handler], Handler]:
    """Add a function to the table of operations under its AWS name.

    `writes=False` means a read-only transaction; a function decides by the parameters. `prepare` does slow work that
    needs only the parameters, before the transaction: a transaction that writes blocks all other writers. An operation
    that is not `signed` determines its caller itself: `call.caller` is NOBODY. One that `makes_room` may use some of
    the space that is reserved on a full disk. Raises RuntimeError if the name is taken.
    """

    def enter(handler: Handler) -> Handler:
        if (service, name) in OPERATIONS:
            raise RuntimeError(f"{service}:{name} is defined twice")
        OPERATIONS[service, name] = Operation(service, name, handler, writes, prepare, signed, makes_room)
        return handler

    return enter
