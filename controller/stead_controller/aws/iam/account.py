"""An account's alias, password policy and summary."""

from typing import Final

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.iam.account_details_view import details_view
from stead_controller.aws.iam.account_summary_view import account_summary_view
from stead_controller.aws.iam.password_policy_view import password_policy_view
from stead_controller.resources.iam import (
    account_details,
    account_settings,
    credential_report,
    iam_names,
    password_policies,
)
from stead_controller.resources.iam.account_details import Kind
from stead_controller.resources.iam.list_pages import Slice
from stead_controller.resources.iam.password_policies import LEAST_LENGTH, PasswordPolicy

_DETAILS: Final = {
    Kind.USER: "UserDetailList",
    Kind.GROUP: "GroupDetailList",
    Kind.ROLE: "RoleDetailList",
    Kind.LOCAL_POLICY: "Policies",
    Kind.AWS_POLICY: "Policies",
}


@operation("GetAccountSummary", service="iam", writes=False)
def get_account_summary(call: Call, params: Params) -> Result:
    """Show the numbers of an account's entities, and their quotas."""
    del params
    return {"SummaryMap": account_summary_view(account_settings.summary(call.tx, call.caller))}


@operation("GetAccountAuthorizationDetails", service="iam", writes=False)
def get_account_authorization_details(call: Call, params: Params) -> Result:
    """List users, groups, roles and policies with all their details."""
    kinds = params.get("Filter") or list(Kind)
    if not set(kinds) <= set(Kind):
        known = ", ".join(Kind)
        raise iam_names.invalid("filter", f"Member must satisfy enum value set: [{known}]")
    page = describe.marker_page(call, params, "GetAccountAuthorizationDetails")
    found = account_details.search(call.tx, call.caller, kinds, Slice(page.fetch, page.after))
    shown, marker = page.cut(found, lambda entry: (entry.kind, entry.name))
    answer: Result = {member: [] for member in _DETAILS.values()}
    for entry in shown:
        answer[_DETAILS[entry.kind]].append(details_view(entry.details))
    return {**answer, "IsTruncated": marker is not None, "Marker": marker}


@operation("CreateAccountAlias", service="iam")
def create_account_alias(call: Call, params: Params) -> Result:
    """Create the account's alias."""
    account_settings.set_alias(call.tx, call.caller, params["AccountAlias"])
    return {}


@operation("ListAccountAliases", service="iam", writes=False)
def list_account_aliases(call: Call, params: Params) -> Result:
    """List the account's only alias, if it has one."""
    describe.marker_page(call, params, "ListAccountAliases")
    alias = account_settings.alias(call.tx, call.caller)
    return {"AccountAliases": [alias] if alias else [], "IsTruncated": False}


@operation("DeleteAccountAlias", service="iam")
def delete_account_alias(call: Call, params: Params) -> Result:
    """Delete the alias."""
    account_settings.remove_alias(call.tx, call.caller, params["AccountAlias"])
    return {}


@operation("UpdateAccountPasswordPolicy", service="iam")
def update_account_password_policy(call: Call, params: Params) -> Result:
    """Set the account's password policy."""
    rules = PasswordPolicy(
        minimum_length=params.get("MinimumPasswordLength", LEAST_LENGTH),
        require_symbols=params.get("RequireSymbols", False),
        require_numbers=params.get("RequireNumbers", False),
        require_uppercase=params.get("RequireUppercaseCharacters", False),
        require_lowercase=params.get("RequireLowercaseCharacters", False),
        allow_users_to_change=params.get("AllowUsersToChangePassword", False),
        max_age=params.get("MaxPasswordAge"),
        reuse_prevention=params.get("PasswordReusePrevention"),
        hard_expiry=params.get("HardExpiry"),
    )
    password_policies.put(call.tx, call.caller, rules)
    return {}


@operation("GetAccountPasswordPolicy", service="iam", writes=False)
def get_account_password_policy(call: Call, params: Params) -> Result:
    """Show the password policy."""
    del params
    return {"PasswordPolicy": password_policy_view(password_policies.get(call.tx, call.caller))}


@operation("DeleteAccountPasswordPolicy", service="iam")
def delete_account_password_policy(call: Call, params: Params) -> Result:
    """Delete the password policy, so that the default applies."""
    del params
    password_policies.remove(call.tx, call.caller)
    return {}


@operation("GenerateCredentialReport", service="iam")
def generate_credential_report(call: Call, params: Params) -> Result:
    """Generate a report on all users' credentials, which is complete at once."""
    del params
    credential_report.generate(call.tx, call.caller, call.now)
    return {"State": "COMPLETE"}


@operation("GetCredentialReport", service="iam", writes=False)
def get_credential_report(call: Call, params: Params) -> Result:
    """Answer the latest report."""
    del params
    report = credential_report.get(call.tx, call.caller, call.now)
    return {"Content": report.content.encode(), "ReportFormat": "text/csv", "GeneratedTime": report.generated}
