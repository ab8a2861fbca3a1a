"""An account's alias, password policy and summary."""

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.resources import iam_accounts


@operation("GetAccountSummary", service="iam", writes=False)
def get_account_summary(call: Call, params: Params) -> Result:
    """Tell how much the account has, and how much it may have."""
    del params
    return {"SummaryMap": iam_accounts.summary(call.tx, call.caller)}


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
    iam_accounts.set_password_policy(call.tx, call.caller, params)
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
