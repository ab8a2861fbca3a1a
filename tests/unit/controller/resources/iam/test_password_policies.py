import json

from stead_controller.resources.iam.password_policies import PasswordPolicy

DEFAULTS = {
    "MinimumPasswordLength": 6,
    "RequireSymbols": False,
    "RequireNumbers": False,
    "RequireUppercaseCharacters": False,
    "RequireLowercaseCharacters": False,
    "AllowUsersToChangePassword": False,
}


def test_rules_are_stored_under_the_names_of_iam():
    assert json.loads(PasswordPolicy().stored()) == DEFAULTS
    strict = PasswordPolicy(minimum_length=9, require_symbols=True, max_age=90, reuse_prevention=3, hard_expiry=False)
    assert json.loads(strict.stored()) == {
        **DEFAULTS,
        "MinimumPasswordLength": 9,
        "RequireSymbols": True,
        "MaxPasswordAge": 90,
        "PasswordReusePrevention": 3,
        "HardExpiry": False,
    }
    assert PasswordPolicy.of_stored(strict.stored()) == strict


def test_each_rule_has_a_name_of_its_own():
    for rule in (
        {"require_numbers": True},
        {"require_uppercase": True},
        {"require_lowercase": True},
        {"allow_users_to_change": True},
    ):
        policy = PasswordPolicy(**rule)
        assert PasswordPolicy.of_stored(policy.stored()) == policy
        changed = json.loads(policy.stored()).items() - DEFAULTS.items()
        assert [value for _, value in changed] == [True]
