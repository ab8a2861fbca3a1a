"""Login profiles: that a user has a password.

See https://docs.aws.amazon.com/IAM/latest/APIReference/API_LoginProfile.html.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from stead_controller.db.tables import IamUser
from stead_controller.errors import AlreadyExists, BadRequest, NotFound
from stead_controller.resources import iam_accounts, iam_entities, iam_passwords
from stead_controller.resources.caller import Caller
from stead_controller.resources.questions import PasswordCheck
from stead_controller.resources.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Password:
    """A password, and what is kept of it, made before the transaction."""

    text: str = field(repr=False)
    kept: str = field(repr=False)


def create(
    tx: Transaction, caller: Caller, user_name: str | None, password: Password, *, reset: bool, now: datetime
) -> dict[str, Any]:
    """Give a user a password; raises NotFound, AlreadyExists, BadRequest for a weak one."""
    user = iam_entities.find_user(tx, caller, iam_entities.own_name(caller, user_name))
    if user.password_hash is not None:
        raise AlreadyExists("iam-login-profile", f"Login Profile for user {user.name} already exists.")
    iam_passwords.check(password.text, iam_accounts.password_policy(tx, caller.account_id))
    user.password_hash, user.password_created, user.password_reset_required = password.kept, now, reset
    user.password_changed = None
    return _show(user)


def get(tx: Transaction, caller: Caller, user_name: str | None) -> dict[str, Any]:
    """Show that a user has a password; raises NotFound."""
    return _show(_find(tx, caller, iam_entities.own_name(caller, user_name)))


def update(
    tx: Transaction, caller: Caller, user_name: str, password: Password | None, *, reset: bool | None, now: datetime
) -> None:
    """Change a user's password, or whether it must be changed; raises NotFound, BadRequest for a weak one."""
    user = _find(tx, caller, user_name)
    if password is not None:
        iam_passwords.check(password.text, iam_accounts.password_policy(tx, caller.account_id))
        user.password_hash, user.password_changed = password.kept, now
    if reset is not None:
        user.password_reset_required = reset


def remove(tx: Transaction, caller: Caller, user_name: str | None) -> None:
    """Take a user's password away; raises NotFound."""
    user = _find(tx, caller, iam_entities.own_name(caller, user_name))
    user.password_hash = user.password_created = user.password_changed = None
    user.password_reset_required = False


def ask_to_change(tx: Transaction, caller: Caller, old: str, new: Password) -> PasswordCheck:
    """Say what must be known before the caller's own password changes; raises NotFound, BadRequest."""
    user = _own(tx, caller)
    iam_passwords.check(new.text, iam_accounts.password_policy(tx, caller.account_id))
    assert user.password_hash is not None
    return PasswordCheck(old, user.password_hash)


def change(
    tx: Transaction, caller: Caller, asked: PasswordCheck, new: Password, *, is_right: bool, now: datetime
) -> None:
    """Change the caller's own password; raises BadRequest where the old one was wrong or has been changed meanwhile."""
    user = _own(tx, caller)
    if not is_right or user.password_hash != asked.kept:
        raise BadRequest("The old password was incorrect.", code="AccessDenied")
    user.password_hash, user.password_changed, user.password_reset_required = new.kept, now, False


def _own(tx: Transaction, caller: Caller) -> IamUser:
    if caller.kind != "user":
        raise BadRequest("Only IAM Users can change their own password.", code="InvalidUserType")
    return _find(tx, caller, caller.user_name)


def _find(tx: Transaction, caller: Caller, user_name: str) -> IamUser:
    user = iam_entities.find_user(tx, caller, user_name)
    if user.password_hash is None:
        message = f"Login Profile for User {user.name} cannot be found."
        raise NotFound("iam-login-profile", user.name, message=message)
    return user


def _show(user: IamUser) -> dict[str, Any]:
    return {
        "UserName": user.name,
        "CreateDate": user.password_created,
        "PasswordResetRequired": user.password_reset_required,
    }
