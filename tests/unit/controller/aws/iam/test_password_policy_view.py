from stead_controller.aws.iam.password_policy_view import password_policy_view
from stead_controller.resources.iam.password_policies import PasswordPolicy


def test_passwords_expire_where_they_have_an_age():
    strict = password_policy_view(PasswordPolicy(max_age=90, reuse_prevention=3, hard_expiry=True))
    assert (strict["ExpirePasswords"], strict["MaxPasswordAge"]) == (True, 90)
    assert (strict["PasswordReusePrevention"], strict["HardExpiry"]) == (3, True)
    plain = password_policy_view(PasswordPolicy())
    assert plain["ExpirePasswords"] is False
    assert (plain["MaxPasswordAge"], plain["PasswordReusePrevention"], plain["HardExpiry"]) == (None, None, None)


def test_each_rule_has_its_name():
    names = {
        "require_symbols": "RequireSymbols",
        "require_numbers": "RequireNumbers",
        "require_uppercase": "RequireUppercaseCharacters",
        "require_lowercase": "RequireLowercaseCharacters",
        "allow_users_to_change": "AllowUsersToChangePassword",
    }
    for rule, title in names.items():
        shown = password_policy_view(PasswordPolicy(minimum_length=9, **{rule: True}))
        assert shown["MinimumPasswordLength"] == 9
        assert [name for name in names.values() if shown[name]] == [title]
