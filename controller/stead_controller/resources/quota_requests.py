"""Accounts' requests for quota increases, which the operator approves or denies.

See https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/API_RequestServiceQuotaIncrease.html: of each
quota one request at a time may be open, and answered ones are stored for 90 days.
"""

import secrets
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, func, select

from stead_controller.db.tables import QuotaRequest
from stead_controller.errors import AlreadyExists, BadRequest, InvalidParameter, LimitExceeded, NotFound, WrongState
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources import quotas
from stead_controller.resources.quotas import Quota

type RequestRow = QuotaRequest
"""A request as it is shown."""

OPEN: Final = "PENDING"
GRANTED: Final = "APPROVED"
TURNED_DOWN: Final = "DENIED"
NOT_APPROVED: Final = "NOT_APPROVED"

_RETENTION: Final = timedelta(days=90)
_MOST: Final = 200  # of an account, while they are stored
_ID_BYTES: Final = 20


def ask(
    tx: Transaction, caller: Caller, cloud: Cloud, quota: Quota, desired: float, *, now: datetime, openly: bool
) -> QuotaRequest:
    """Request a quota increase; without `openly` the operator does not see it, so that it is never approved.

    Raises InvalidParameter, BadRequest, AlreadyExists where one is open, LimitExceeded.
    """
    mine = QuotaRequest.account_id == caller.account_id
    if desired != int(desired):
        raise InvalidParameter("You must provide a quota value that is a whole number.")
    if desired <= quotas.limit(tx, caller.account_id, quota, cloud=cloud):
        raise BadRequest("You must provide a quota value greater than the current quota value.")
    old = QuotaRequest.created < now - _RETENTION
    tx.session.execute(delete(QuotaRequest).where(mine, old, QuotaRequest.status != OPEN))
    this = (QuotaRequest.service == quota.service, QuotaRequest.code == quota.code)
    if tx.session.scalar(select(QuotaRequest.id).where(mine, *this, QuotaRequest.status == OPEN).limit(1)) is not None:
        raise AlreadyExists(
            "quota-request",
            "Only one open service quota increase request is allowed per quota.",
            code="ResourceAlreadyExistsException",
        )
    if tx.session.scalars(select(func.count(QuotaRequest.id)).where(mine)).one() >= _MOST:
        raise LimitExceeded(f"An account may ask {_MOST} times in 90 days.", code="QuotaExceededException")
    made = QuotaRequest(
        id=secrets.token_hex(_ID_BYTES),
        account_id=caller.account_id,
        service=quota.service,
        code=quota.code,
        desired=int(desired),
        status=OPEN if openly else NOT_APPROVED,
        requester=caller.arn,
        created=now,
        updated=now,
    )
    tx.session.add(made)
    return made


def find(tx: Transaction, caller: Caller, request_id: str) -> QuotaRequest:
    """Return a request of the caller's account; raises NotFound."""
    mine = QuotaRequest.account_id == caller.account_id
    found = tx.session.scalar(select(QuotaRequest).where(mine, QuotaRequest.id == request_id))
    if found is None:
        raise NotFound("quota-request", request_id)
    return found


def of_account(
    tx: Transaction, caller: Caller, now: datetime, *, service: str | None, code: str | None, status: str | None
) -> list[QuotaRequest]:
    """List an account's requests of the last 90 days and the open ones, which are few, the newest first."""
    asked = {QuotaRequest.service: service, QuotaRequest.code: code, QuotaRequest.status: status}
    mine = [column == value for column, value in asked.items() if value is not None]
    recent = (QuotaRequest.created >= now - _RETENTION) | (QuotaRequest.status == OPEN)
    found = select(QuotaRequest).where(QuotaRequest.account_id == caller.account_id, recent, *mine)
    return list(tx.session.scalars(found.order_by(QuotaRequest.created.desc(), QuotaRequest.id)))


def all_open(tx: Transaction) -> list[QuotaRequest]:
    """List the requests that the operator has not answered, the oldest first."""
    found = select(QuotaRequest).where(QuotaRequest.status == OPEN)
    return list(tx.session.scalars(found.order_by(QuotaRequest.created, QuotaRequest.id)))


def answer(tx: Transaction, cloud: Cloud, request_id: str, now: datetime, *, grant: bool) -> QuotaRequest:
    """Approve a request, which sets the account's quota, or deny it; raises NotFound, WrongState."""
    found = tx.session.get(QuotaRequest, request_id)
    if found is None:
        raise NotFound("quota-request", request_id)
    if found.status != OPEN:
        raise WrongState("quota-request", f"The quota request '{request_id}' is {found.status} already.")
    quota = quotas.find(found.service, found.code)
    if grant and found.desired > quotas.limit(tx, found.account_id, quota, cloud=cloud):
        quotas.set_value(tx, found.account_id, quota, found.desired)
    found.status, found.updated = GRANTED if grant else TURNED_DOWN, now
    return found
