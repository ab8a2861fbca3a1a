"""Login profiles: a user's password, and the previous ones as far as the account's password policy needs them.

See https://docs.aws.amazon.com/IAM/latest/APIReference/API_LoginProfile.html.
"""

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import delete, func, select

from stead_controller.db.tables import IamOldPassword, IamUser
from stead_controller.errors import AlreadyExists, BadRequest, NotFound
from stead_controller.request.caller import Caller
from stead_controller.request.questions import PasswordCheck
from stead_controller.request.transaction import Transaction
from stead_controller.resources.iam import entities, password_policies, passwords
from stead_controller.resources.iam.password_policies import PasswordPolicy


@dataclass(frozen=True, slots=True)
class Password:
    """A password and its hash, which was made before the transaction."""

    text: str = field(repr=False)
    hash: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class LoginProfile:
    """A user's login profile: when it was created, and whether the password must be changed."""

    user_name: str
    created: datetime | None
    reset_required: bool


def create(
    tx: Transaction, caller: Caller, user_name: str | None, password: Password, *, reset: bool, now: datetime
) -> LoginProfile:
    """Set the first password of a user; raises NotFound, AlreadyExists, BadRequest for a weak one."""
    user = entities.find_user(tx, caller, entities.own_name(caller, user_name))
    if user.password_hash is not None:
        raise AlreadyExists("iam-login-profile", f"Login Profile for user {user.name} already exists.")
    passwords.check(password.text, password_policies.find(tx, caller.account_id))
    user.password_hash, user.password_created, user.password_reset_required = password.hash, now, reset
    user.password_changed = None
    return _described(user)


def get(tx: Transaction, caller: Caller, user_name: str | None) -> LoginProfile:
    """Return a user's login profile; raises NotFound."""
    return _described(_find(tx, caller, entities.own_name(caller, user_name)))


def update(
    tx: Transaction, caller: Caller, user_name: str, password: Password | None, *, reset: bool | None, now: datetime
) -> None:
    """Change a user's password, or whether it must be changed; raises NotFound, BadRequest for a weak one."""
    user = _find(tx, caller, user_name)
    if password is not None:
        rules = password_policies.find(tx, caller.account_id)
        passwords.check(password.text, rules)
        _replace(tx, user, password, rules, now)
    if reset is not None:
        user.password_reset_required = reset


def remove(tx: Transaction, caller: Caller, user_name: str | None) -> None:
    """Remove a user's password; raises NotFound."""
    user = _find(tx, caller, entities.own_name(caller, user_name))
    _forget(tx, user, 0)
    user.password_hash = user.password_created = user.password_changed = None
    user.password_reset_required = False


def ask_to_change(tx: Transaction, caller: Caller, old: str, new: Password) -> PasswordCheck:
    """Return the hashes to check before the caller's own password is changed; raises NotFound, BadRequest."""
    user = _own(tx, caller)
    rules = password_policies.find(tx, caller.account_id)
    passwords.check(new.text, rules)
    assert user.password_hash is not None
    return PasswordCheck(((old, user.password_hash), *((new.text, stored) for stored in _latest(tx, user, rules))))


def change(
    tx: Transaction, caller: Caller, asked: PasswordCheck, new: Password, equal: bytes, *, now: datetime
) -> None:
    """Change the caller's own password; `equal` has a byte for each pair of the question: whether it matched.

    Raises BadRequest where the old one was wrong or has been changed meanwhile, and for a reused password.
    """
    user = _own(tx, caller)
    if not equal[0] or user.password_hash != asked.pairs[0][1]:
        raise BadRequest("The old password was incorrect.", code="AccessDenied")
    _refuse_used(equal[1:])
    _replace(tx, user, new, password_policies.find(tx, caller.account_id), now)
    user.password_reset_required = False


def ask_to_update(tx: Transaction, caller: Caller, user_name: str, new: Password | None) -> PasswordCheck | None:
    """Return the hashes to check before a user's password is changed, None if none; raises NotFound, BadRequest."""
    user = _find(tx, caller, user_name)
    rules = password_policies.find(tx, caller.account_id)
    if new is None or not (latest := _latest(tx, user, rules)):
        return None
    passwords.check(new.text, rules)
    return PasswordCheck(tuple((new.text, stored) for stored in latest))


def check_fresh(tx: Transaction, caller: Caller, user_name: str, asked: PasswordCheck, equal: bytes) -> None:
    """Raise BadRequest for a reused password, or where the user's password has been changed meanwhile."""
    _refuse_used(equal)
    if _find(tx, caller, user_name).password_hash != asked.pairs[0][1]:
        raise BadRequest(f"The password of {user_name} is being changed.", code="EntityTemporarilyUnmodifiable")


def _refuse_used(equal: bytes) -> None:
    if any(equal):
        raise BadRequest(
            "Policy constraint violation with password reuse prevention during password change.",
            code="PasswordPolicyViolation",
        )


def _latest(tx: Transaction, user: IamUser, rules: PasswordPolicy | None) -> list[str]:
    """Return the hashes of the passwords that a user must not reuse, the current one first."""
    number = _reuse_prevention(rules)
    if not number or user.password_hash is None:
        return []
    query = select(IamOldPassword.password_hash).where(IamOldPassword.user_id == user.id)
    newest = query.order_by(IamOldPassword.number.desc()).limit(number - 1)
    return [user.password_hash, *tx.session.scalars(newest)]


def _reuse_prevention(rules: PasswordPolicy | None) -> int:
    return (rules and rules.reuse_prevention) or 0


def _replace(tx: Transaction, user: IamUser, new: Password, rules: PasswordPolicy | None, now: datetime) -> None:
    """Replace a user's password; previous ones stay stored as far as they must not be reused."""
    number = _reuse_prevention(rules)
    if number > 1 and user.password_hash is not None:
        query = select(func.max(IamOldPassword.number)).where(IamOldPassword.user_id == user.id)
        last = tx.session.scalar(query) or 0
        tx.session.add(IamOldPassword(user_id=user.id, number=last + 1, password_hash=user.password_hash))
        tx.session.flush()
    _forget(tx, user, max(0, number - 1))
    user.password_hash, user.password_changed = new.hash, now


def _forget(tx: Transaction, user: IamUser, keep: int) -> None:
    """Delete a user's passwords except the current one and the `keep` before it."""
    query = select(IamOldPassword.number).where(IamOldPassword.user_id == user.id)
    newest = query.order_by(IamOldPassword.number.desc()).limit(keep).subquery()
    doomed = (IamOldPassword.user_id == user.id, IamOldPassword.number.not_in(select(newest.c.number)))
    tx.session.execute(delete(IamOldPassword).where(*doomed).execution_options(synchronize_session=False))


def _own(tx: Transaction, caller: Caller) -> IamUser:
    if caller.kind != "user":
        raise BadRequest("Only IAM Users can change their own password.", code="InvalidUserType")
    return _find(tx, caller, caller.user_name)


def _find(tx: Transaction, caller: Caller, user_name: str) -> IamUser:
    user = entities.find_user(tx, caller, user_name)
    if user.password_hash is None:
        message = f"Login Profile for User {user.name} cannot be found."
        raise NotFound("iam-login-profile", user.name, message=message)
    return user


def _described(user: IamUser) -> LoginProfile:
    return LoginProfile(user.name, user.password_created, user.password_reset_required)
