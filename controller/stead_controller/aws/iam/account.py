"""An account's alias, password policy and summary."""

from typing import Final

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.reading import whole
from stead_controller.resources.iam import account_details, account_settings, credential_report, iam_names
from stead_controller.resources.iam.list_pages import Slice

_DETAILS: Final = {
    "User": "UserDetailList",
    "Group": "GroupDetailList",
    "Role": "RoleDetailList",
    "LocalManagedPolicy": "Policies",
    "AWSManagedPolicy": "Policies",
}


@operation("GetAccountSummary", service="iam", writes=False)
def get_account_summary(call: Call, params: Params) -> Result:
    """Tell how much the account has, and how much it may have."""
    del params
    return {"SummaryMap": account_settings.summary(call.tx, call.caller)}


@operation("GetAccountAuthorizationDetails", service="iam", writes=False)
def get_account_authorization_details(call: Call, params: Params) -> Result:
    """List users, groups, roles and policies with all that they have."""
    kinds = params.get("Filter") or list(account_details.KINDS)
    if not set(kinds) <= set(account_details.KINDS):
        known = ", ".join(account_details.KINDS)
        raise iam_names.invalid("filter", f"Member must satisfy enum value set: [{known}]")
    page = describe.marker_page(call, params, "GetAccountAuthorizationDetails")
    found = account_details.search(call.tx, call.caller, kinds, Slice(page.fetch, page.after))
    shown, marker = page.cut(found, lambda entry: (entry[0], entry[1]))
    answer: Result = {member: [] for member in _DETAILS.values()}
    for kind, _, entity in shown:
        answer[_DETAILS[kind]].append(entity)
    return {**answer, "IsTruncated": marker is not None, "Marker": marker}


@operation("CreateAccountAlias", service="iam")
def create_account_alias(call: Call, params: Params) -> Result:
    """Give the account an alias."""
    account_settings.set_alias(call.tx, call.caller, params["AccountAlias"])
    return {}


@operation("ListAccountAliases", service="iam", writes=False)
def list_account_aliases(call: Call, params: Params) -> Result:
    """List the one alias, if there is one."""
    describe.marker_page(call, params, "ListAccountAliases")
    alias = account_settings.alias(call.tx, call.caller)
    return {"AccountAliases": [alias] if alias else [], "IsTruncated": False}


@operation("DeleteAccountAlias", service="iam")
def delete_account_alias(call: Call, params: Params) -> Result:
    """Take the alias away."""
    account_settings.remove_alias(call.tx, call.caller, params["AccountAlias"])
    return {}


@operation("UpdateAccountPasswordPolicy", service="iam")
def update_account_password_policy(call: Call, params: Params) -> Result:
    """Set all rules for passwords."""
    account_settings.set_password_policy(call.tx, call.caller, whole(params))
    return {}


@operation("GetAccountPasswordPolicy", service="iam", writes=False)
def get_account_password_policy(call: Call, params: Params) -> Result:
    """Show the rules for passwords."""
    del params
    return {"PasswordPolicy": account_settings.show_password_policy(call.tx, call.caller)}


@operation("DeleteAccountPasswordPolicy", service="iam")
def delete_account_password_policy(call: Call, params: Params) -> Result:
    """Return to the rules of an account that set none."""
    del params
    account_settings.remove_password_policy(call.tx, call.caller)
    return {}


@operation("GenerateCredentialReport", service="iam")
def generate_credential_report(call: Call, params: Params) -> Result:
    """Have a report of the state of all users' credentials, which is there at once."""
    del params
    credential_report.generate(call.tx, call.caller, call.now)
    return {"State": "COMPLETE"}


@operation("GetCredentialReport", service="iam", writes=False)
def get_credential_report(call: Call, params: Params) -> Result:
    """Give the report that was made last."""
    del params
    report = credential_report.get(call.tx, call.caller, call.now)
    return {"Content": report.content.encode(), "ReportFormat": "text/csv", "GeneratedTime": report.generated}
