"""ClientTokens: a repeated request returns what the first one created.

See https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, delete, select

from stead_controller.db.insert import insert_if_absent
from stead_controller.db.tables import ClientToken
from stead_controller.errors import IdempotencyMismatch, InvalidParameter
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction

LIFETIME: Final = timedelta(hours=24)
_MAX_LENGTH: Final = 64


def replay(tx: Transaction, caller: Caller, operation: str, token: str, *, digest: str, now: datetime) -> str | None:
    """Return the id of what a request with this token created in the last 24 hours; None when there was none.

    `digest` is that of all parameters. Raises IdempotencyMismatch when they differ, InvalidParameter for a bad token.
    """
    if not token or len(token) > _MAX_LENGTH or not token.isascii():
        raise InvalidParameter(f"The client token must have 1 to {_MAX_LENGTH} ASCII characters")
    known = tx.session.execute(
        select(ClientToken.digest, ClientToken.resource_id).where(
            *_key(caller, operation, token), ClientToken.created > now - LIFETIME
        )
    ).first()
    if known is None:
        return None
    if known.digest != digest:
        raise IdempotencyMismatch(
            "The client token was used before with other parameters; use a new token for a new request"
        )
    return str(known.resource_id)


def remember(
    tx: Transaction, caller: Caller, operation: str, token: str, *, digest: str, resource_id: str, now: datetime
) -> None:
    """Store what a request with this token created, in the same transaction; call after `replay` returned None."""
    tx.session.execute(
        delete(ClientToken).where(*_key(caller, operation, token), ClientToken.created <= now - LIFETIME)
    )
    values = {
        "account_id": caller.account_id,
        "operation": operation,
        "token": token,
        "digest": digest,
        "resource_id": resource_id,
        "created": now,
    }
    if not insert_if_absent(tx.session, ClientToken, values):
        raise RuntimeError(f"client token of {operation} came twice at once in spite of serializable transactions")


def _key(caller: Caller, operation: str, token: str) -> tuple[ColumnElement[bool], ...]:
    return (
        ClientToken.account_id == caller.account_id,
        ClientToken.operation == operation,
        ClientToken.token == token,
    )


@dataclass(frozen=True, slots=True)
class Repeatable:
    """A request's name, its ClientToken (empty when it has none) and the digest of its parameters."""

    operation: str
    token: str
    digest: str


def replay_request(tx: Transaction, caller: Caller, request: Repeatable, now: datetime) -> str | None:
    """Call `replay` for a request that may have no token."""
    if not request.token:
        return None
    return replay(tx, caller, request.operation, request.token, digest=request.digest, now=now)


def remember_request(tx: Transaction, caller: Caller, request: Repeatable, resource_id: str, now: datetime) -> None:
    """Call `remember` for a request that may have no token."""
    if request.token:
        remember(
            tx,
            caller,
            request.operation,
            request.token,
            digest=request.digest,
            resource_id=resource_id,
            now=now,
        )


def once(tx: Transaction, caller: Caller, request: Repeatable, now: datetime, make: Callable[[], str]) -> str:
    """Return the id of what `make` creates, or of what it created for this request before.

    Raises what `make` raises, IdempotencyMismatch, InvalidParameter for a bad token.
    """
    known = replay_request(tx, caller, request, now)
    if known is not None:
        return known
    made = make()
    remember_request(tx, caller, request, made, now)
    return made
