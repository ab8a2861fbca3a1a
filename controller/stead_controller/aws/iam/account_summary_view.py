"""The numbers and quotas of an account's entities, as GetAccountSummary shows them."""

from typing import Final

from stead_controller.resources.iam import iam_quotas
from stead_controller.resources.iam.account_settings import AccountSummary

_FIXED: Final = {
    "AccessKeysPerUserQuota": iam_quotas.ACCESS_KEYS_PER_USER,
    "AccountPasswordPresent": 0,
    "AccountSigningCertificatesPresent": 0,
    "GlobalEndpointTokenVersion": 2,  # session tokens are valid at every endpoint of the cloud
    "AssumeRolePolicySizeQuota": iam_quotas.TRUST_POLICY_SIZE,
    "GroupPolicySizeQuota": iam_quotas.INLINE_SIZES["group"],
    "GroupsPerUserQuota": iam_quotas.GROUPS_PER_USER,
    "PolicySizeQuota": iam_quotas.POLICY_SIZE,
    "PolicyVersionsInUseQuota": 10_000,
    "RolePolicySizeQuota": iam_quotas.INLINE_SIZES["role"],
    "ServerCertificates": 0,
    "ServerCertificatesQuota": 0,  # they cannot be uploaded
    "SigningCertificatesPerUserQuota": 0,
    "UserPolicySizeQuota": iam_quotas.INLINE_SIZES["user"],
    "VersionsPerPolicyQuota": iam_quotas.VERSIONS_PER_POLICY,
}
_COUNTED: Final = (
    ("user", "Users"),
    ("group", "Groups"),
    ("role", "Roles"),
    ("instance-profile", "InstanceProfiles"),
    ("policy", "Policies"),
)


def account_summary_view(found: AccountSummary) -> dict[str, int]:
    """Show the numbers of an account; those about root's MFA device and access keys are 1 or 0."""
    shown = dict(_FIXED)
    for kind, title in _COUNTED:
        shown[title] = found.counts[kind]
        shown[f"{title}Quota"] = found.limits[kind]
    return {
        **shown,
        **{f"AttachedPoliciesPer{kind.capitalize()}Quota": limit for kind, limit in found.policies_per.items()},
        "Providers": found.oidc_providers,
        "MFADevices": found.mfa_devices,
        "MFADevicesInUse": found.mfa_devices_in_use,
        "AccountMFAEnabled": int(found.root_has_mfa_device),
        "PolicyVersionsInUse": found.policies_in_use,
        "AccountAccessKeysPresent": int(found.root_has_access_key),
    }
