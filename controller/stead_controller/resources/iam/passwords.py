"""Hash passwords with scrypt, which takes some hundredths of a second, and check them against the password policy.

See https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_passwords_account-policy.html.
"""

import base64
import hashlib
import hmac
import re
import secrets
from typing import Final

from stead_controller.errors import BadRequest
from stead_controller.resources.iam.password_policies import PasswordPolicy

_COST: Final = 1 << 14
_BLOCK: Final = 8
_SALT_BYTES: Final = 16
_SYMBOLS: Final = re.compile(r"[!@#$%^&*()_+\-=\[\]{}|']")
# The requirements that a policy may have, and IAM's messages for them.
_KINDS: Final[dict[str, tuple[re.Pattern[str], str]]] = {
    "uppercase": (re.compile("[A-Z]"), "uppercase letter"),
    "lowercase": (re.compile("[a-z]"), "lowercase letter"),
    "numbers": (re.compile("[0-9]"), "number"),
    "symbols": (_SYMBOLS, "symbol"),
}
_DEFAULT_LENGTH: Final = 8
_DEFAULT_KINDS: Final = 3


def hashed(password: str) -> str:
    """Hash a password with a new salt, in the form `scrypt$salt$hash` that is stored."""
    salt = secrets.token_bytes(_SALT_BYTES)
    return f"scrypt${base64.b64encode(salt).decode()}${base64.b64encode(_scrypt(password, salt)).decode()}"


def is_password(password: str, stored: str) -> bool:
    """Tell whether the stored hash is that of this password."""
    _, salt, digest = stored.split("$")
    return hmac.compare_digest(_scrypt(password, base64.b64decode(salt)), base64.b64decode(digest))


def check(password: str, policy: PasswordPolicy | None) -> None:
    """Raise BadRequest with the requirements of the account's password policy (or IAM's default) that are not met."""
    if policy is None:
        if len(password) < _DEFAULT_LENGTH:
            raise _refusal(f"Password should have a minimum length of {_DEFAULT_LENGTH}")
        if sum(bool(pattern.search(password)) for pattern, _ in _KINDS.values()) < _DEFAULT_KINDS:
            raise _refusal(
                f"Password should have at least {_DEFAULT_KINDS} of: uppercase letters, lowercase letters, numbers, "
                "symbols"
            )
        return
    if len(password) < policy.minimum_length:
        raise _refusal(f"Password should have a minimum length of {policy.minimum_length}")
    required = {
        "uppercase": policy.require_uppercase,
        "lowercase": policy.require_lowercase,
        "numbers": policy.require_numbers,
        "symbols": policy.require_symbols,
    }
    for kind, (pattern, what) in _KINDS.items():
        if required[kind] and not pattern.search(password):
            raise _refusal(f"Password should have at least one {what}")


def _refusal(message: str) -> BadRequest:
    return BadRequest(message, code="PasswordPolicyViolation")


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=_COST, r=_BLOCK, p=1)
