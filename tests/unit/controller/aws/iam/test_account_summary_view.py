from stead_controller.aws.iam.account_summary_view import account_summary_view
from stead_controller.resources.iam.account_settings import AccountSummary

KINDS = ("user", "group", "role", "instance-profile", "policy")
SUMMARY = AccountSummary(
    counts={kind: number for number, kind in enumerate(KINDS, 1)},
    limits={kind: 10 * number for number, kind in enumerate(KINDS, 1)},
    policies_per={"user": 101, "group": 102, "role": 103},
    oidc_providers=201,
    mfa_devices=202,
    mfa_devices_in_use=203,
    root_has_mfa_device=True,
    policies_in_use=204,
    root_has_access_key=False,
)


def test_each_number_has_its_name():
    shown = account_summary_view(SUMMARY)
    titles = ("Users", "Groups", "Roles", "InstanceProfiles", "Policies")
    assert [shown[title] for title in titles] == [1, 2, 3, 4, 5]
    assert [shown[f"{title}Quota"] for title in titles] == [10, 20, 30, 40, 50]
    assert [shown[f"AttachedPoliciesPer{kind}Quota"] for kind in ("User", "Group", "Role")] == [101, 102, 103]
    assert (shown["Providers"], shown["MFADevices"], shown["MFADevicesInUse"]) == (201, 202, 203)
    assert (shown["AccountMFAEnabled"], shown["AccountAccessKeysPresent"]) == (1, 0)
    assert shown["PolicyVersionsInUse"] == 204
    assert (shown["VersionsPerPolicyQuota"], shown["UserPolicySizeQuota"]) == (5, 2048)
