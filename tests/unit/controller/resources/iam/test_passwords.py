import pytest

from stead_controller.errors import BadRequest
from stead_controller.resources.iam import passwords
from stead_controller.resources.iam.password_policies import PasswordPolicy


def test_a_password_is_checked_by_its_hash():
    hashed = passwords.hashed("correct horse")
    assert "correct" not in hashed
    assert hashed != passwords.hashed("correct horse")
    assert passwords.is_password("correct horse", hashed)
    assert not passwords.is_password("Correct horse", hashed)


@pytest.mark.parametrize(
    ("password", "policy", "fine"),
    [
        ("Short1!", None, False),
        ("longenough", None, False),
        ("Longenough1", None, True),
        ("longenough1!", None, True),
        ("abcdef", PasswordPolicy(), True),
        ("abcde", PasswordPolicy(), False),
        ("abcdefgh", PasswordPolicy(minimum_length=9), False),
        ("abcdefghi", PasswordPolicy(minimum_length=9), True),
        ("abcdef", PasswordPolicy(require_numbers=True), False),
        ("abcdef1", PasswordPolicy(require_numbers=True), True),
        ("abcdef", PasswordPolicy(require_uppercase=True), False),
        ("ABCDEF", PasswordPolicy(require_lowercase=True), False),
        ("abcdef", PasswordPolicy(require_symbols=True), False),
        ("abcdef|", PasswordPolicy(require_symbols=True), True),
        ("abcdef", PasswordPolicy(require_symbols=False), True),
    ],
)
def test_the_rules_of_an_account_hold(password, policy, fine):
    if fine:
        passwords.check(password, policy)
    else:
        with pytest.raises(BadRequest) as refusal:
            passwords.check(password, policy)
        assert refusal.value.code == "PasswordPolicyViolation"
