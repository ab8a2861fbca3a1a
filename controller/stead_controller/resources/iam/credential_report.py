"""The report of an account's users and the state of their passwords, MFA devices and access keys, as CSV.

See https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_getting-report.html: one is used for four hours.
"""

import csv
import io
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select

from stead_controller.db.tables import AccessKey, Account, IamCredentialReport, IamMfaDevice, IamUser
from stead_controller.errors import BadRequest
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.iam import entities, password_policies

_FRESH: Final = timedelta(hours=4)
_KEYS: Final = 2
_NONE: Final = "N/A"
_COLUMNS: Final = (
    "user",
    "arn",
    "user_creation_time",
    "password_enabled",
    "password_last_used",
    "password_last_changed",
    "password_next_rotation",
    "mfa_active",
    *(
        f"access_key_{number}_{name}"
        for number in range(1, _KEYS + 1)
        for name in ("active", "last_rotated", "last_used_date", "last_used_region", "last_used_service")
    ),
    *(f"cert_{number}_{name}" for number in (1, 2) for name in ("active", "last_rotated")),
)
_NO_CERTIFICATES: Final = ("false", _NONE, "false", _NONE)


def generate(tx: Transaction, caller: Caller, now: datetime) -> None:
    """Make a report unless there is one that is younger than four hours."""
    found = tx.session.get(IamCredentialReport, caller.account_id)
    if found is None:
        found = IamCredentialReport(account_id=caller.account_id)
        tx.session.add(found)
    elif now - found.generated < _FRESH:
        return
    found.generated, found.content = now, _written(tx, caller)


def get(tx: Transaction, caller: Caller, now: datetime) -> IamCredentialReport:
    """Return the latest report; raises BadRequest when there is none, or when it is too old."""
    found = tx.session.get(IamCredentialReport, caller.account_id)
    if found is None:
        raise BadRequest("No report has been generated: GenerateCredentialReport does.", code="ReportNotPresent")
    if now - found.generated >= _FRESH:
        raise BadRequest("The report is too old: GenerateCredentialReport makes another.", code="ReportExpired")
    return found


def _written(tx: Transaction, caller: Caller) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows(_rows(tx, caller))
    return text.getvalue()


def _rows(tx: Transaction, caller: Caller) -> Iterator[Sequence[str]]:
    account_id = caller.account_id
    keys: dict[str, list[AccessKey]] = defaultdict(list)
    mine = select(AccessKey).where(AccessKey.account_id == account_id).order_by(AccessKey.created, AccessKey.id)
    for key in tx.session.scalars(mine):
        keys[key.user_id].append(key)
    devices = select(IamMfaDevice.user_id).where(IamMfaDevice.account_id == account_id)
    protected = set(tx.session.scalars(devices))
    rules = password_policies.find(tx, account_id)
    days = (rules and rules.max_age) or 0
    account = tx.session.get_one(Account, account_id)
    yield (
        "<root_account>",
        f"arn:aws:iam::{account_id}:root",
        _time(account.created),
        "not_supported",
        "no_information",
        "not_supported",
        "not_supported",
        _flag(account_id in protected),
        *_of_keys(keys[account_id]),
        *_NO_CERTIFICATES,
    )
    users = select(IamUser).where(IamUser.account_id == account_id).order_by(IamUser.name_lower)
    for user in tx.session.scalars(users):
        yield (
            user.name,
            entities.arn_of(user),
            _time(user.created),
            *_of_password(user, days),
            _flag(user.id in protected),
            *_of_keys(keys[user.id]),
            *_NO_CERTIFICATES,
        )


def _of_password(user: IamUser, days: int) -> tuple[str, str, str, str]:
    """Return whether there is a password, when it was last used and changed, and when it must be changed."""
    changed = user.password_changed or user.password_created
    if user.password_hash is None or changed is None:
        return "false", _NONE, _NONE, _NONE
    used = _time(user.password_last_used) if user.password_last_used else "no_information"
    return "true", used, _time(changed), _time(changed + timedelta(days=days)) if days else _NONE


def _of_keys(keys: Sequence[AccessKey]) -> Iterator[str]:
    for number in range(_KEYS):
        if number >= len(keys):
            yield from ("false", _NONE, _NONE, _NONE, _NONE)
            continue
        key = keys[number]
        yield _flag(key.active)
        yield _time(key.created)
        yield _time(key.last_used) if key.last_used else _NONE
        yield key.last_used_region or _NONE
        yield key.last_used_service or _NONE


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
