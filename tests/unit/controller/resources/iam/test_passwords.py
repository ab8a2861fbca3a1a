import pytest

from stead_controller.errors import BadRequest
from stead_controller.resources.iam import passwords


def test_a_password_is_known_by_what_is_kept_of_it():
    kept = passwords.hashed("correct horse")
    assert "correct" not in kept
    assert kept != passwords.hashed("correct horse")
    assert passwords.is_password("correct horse", kept)
    assert not passwords.is_password("Correct horse", kept)


@pytest.mark.parametrize(
    ("password", "policy", "fine"),
    [
        ("Short1!", None, False),
        ("longenough", None, False),
        ("Longenough1", None, True),
        ("longenough1!", None, True),
        ("abcdef", {}, True),
        ("abcde", {}, False),
        ("abcdefgh", {"MinimumPasswordLength": 9}, False),
        ("abcdefghi", {"MinimumPasswordLength": 9}, True),
        ("abcdef", {"RequireNumbers": True}, False),
        ("abcdef1", {"RequireNumbers": True}, True),
        ("abcdef", {"RequireUppercaseCharacters": True}, False),
        ("ABCDEF", {"RequireLowercaseCharacters": True}, False),
        ("abcdef", {"RequireSymbols": True}, False),
        ("abcdef|", {"RequireSymbols": True}, True),
        ("abcdef", {"RequireSymbols": False}, True),
    ],
)
def test_the_rules_of_an_account_hold(password, policy, fine):
    if fine:
        passwords.check(password, policy)
    else:
        with pytest.raises(BadRequest) as refusal:
            passwords.check(password, policy)
        assert refusal.value.code == "PasswordPolicyViolation"
