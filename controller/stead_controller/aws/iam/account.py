"""An account's alias, password policy and summary."""

from typing import Final

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.reading import whole
from stead_controller.resources import iam_accounts, iam_credential_report, iam_details, iam_names
from stead_controller.resources.iam_slices import Slice

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
    return {"SummaryMap": iam_accounts.summary(call.tx, call.caller)}


@operation("GetAccountAuthorizationDetails", service="iam", writes=False)
def get_account_authorization_details(call: Call, params: Params) -> Result:
    """List users, groups, roles and policies with all that they have."""
    kinds = params.get("Filter") or list(iam_details.KINDS)
    if not set(kinds) <= set(iam_details.KINDS):
        known = ", ".join(iam_details.KINDS)
        raise iam_names.invalid("filter", f"Member must satisfy enum value set: [{known}]")
    page = describe.marker_page(call, params, "GetAccountAuthorizationDetails")
    found = iam_details.search(call.tx, call.caller, kinds, Slice(page.fetch, page.after))
    shown, marker = page.cut(found, lambda entry: (entry[0], entry[1]))
    answer: Result = {member: [] for member in _DETAILS.values()}
    for kind, _, entity in shown:
        answer[_DETAILS[kind]].append(entity)
    return {**answer, "IsTruncated": marker is not None, "Marker": marker}


@operation("CreateAccountAlias", service="iam")
def create_account_alias(call: Call, params: Params) -> Result:
    """Give the account an alias."""
    iam_accounts.set_alias(call.tx, call.caller, params["AccountAlias"])
    return {}


@operation("ListAccountAliases", service="iam", writes=False)
def list_account_aliases(call: Call, params: Params) -> Result:
    """List the one alias, if there is one."""
    describe.marker_page(call, params, "ListAccountAliases")
    alias = iam_accounts.alias(call.tx, call.caller)
    return {"AccountAliases": [alias] if alias else [], "IsTruncated": False}


@operation("DeleteAccountAlias", service="iam")
def delete_account_alias(call: Call, params: Params) -> Result:
    """Take the alias away."""
    iam_accounts.remove_alias(call.tx, call.caller, params["AccountAlias"])
    return {}


@operation("UpdateAccountPasswordPolicy", service="iam")
def update_account_password_policy(call: Call, params: Params) -> Result:
    """Set all rules for passwords."""
    iam_accounts.set_password_policy(call.tx, call.caller, whole(params))
    return {}


@operation("GetAccountPasswordPolicy", service="iam", writes=False)
def get_account_password_policy(call: Call, params: Params) -> Result:
    """Show the rules for passwords."""
    del params
    return {"PasswordPolicy": iam_accounts.show_password_policy(call.tx, call.caller)}


@operation("DeleteAccountPasswordPolicy", service="iam")
def delete_account_password_policy(call: Call, params: Params) -> Result:
    """Return to the rules of an account that set none."""
    del params
    iam_accounts.remove_password_policy(call.tx, call.caller)
    return {}


@operation("GenerateCredentialReport", service="iam")
def generate_credential_report(call: Call, params: Params) -> Result:
    """Have a report of the state of all users' credentials, which is there at once."""
    del params
    iam_credential_report.generate(call.tx, call.caller, call.now)
    return {"State": "COMPLETE"}


@operation("GetCredentialReport", service="iam", writes=False)
def get_credential_report(call: Call, params: Params) -> Result:
    """Give the report that was made last."""
    del params
    report = iam_credential_report.get(call.tx, call.caller, call.now)
    return {"Content": report.content.encode(), "ReportFormat": "text/csv", "GeneratedTime": report.generated}
