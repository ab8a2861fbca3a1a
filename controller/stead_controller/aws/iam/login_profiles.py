"""Login profiles, and a user's own password."""

from stead_controller.aws.call import Call, Params, Result, Then, operation
from stead_controller.aws.iam.login_profile_view import login_profile_view
from stead_controller.errors import MissingParameter, Unsupported
from stead_controller.request.questions import HostAnswer
from stead_controller.resources.iam import login_profiles, passwords
from stead_controller.resources.iam.login_profiles import Password


def _hash(params: Params) -> Password | None:
    """Hash the requested password."""
    text = params.get("Password", params.get("NewPassword"))
    return None if text is None else Password(text, passwords.hashed(text))


@operation("CreateLoginProfile", service="iam", prepare=_hash)
def create_login_profile(call: Call, params: Params) -> Result:
    """Create a user's password."""
    _refuse_session_limits(params)
    if call.prepared is None:
        raise MissingParameter("Password")
    made = login_profiles.create(
        call.tx,
        call.caller,
        params.get("UserName"),
        call.prepared,
        reset=params.get("PasswordResetRequired", False),
        now=call.now,
    )
    return {"LoginProfile": login_profile_view(made)}


@operation("GetLoginProfile", service="iam", writes=False)
def get_login_profile(call: Call, params: Params) -> Result:
    """Show that a user has a password."""
    found = login_profiles.get(call.tx, call.caller, params.get("UserName"))
    return {"LoginProfile": login_profile_view(found)}


@operation("UpdateLoginProfile", service="iam", prepare=_hash)
def update_login_profile(call: Call, params: Params) -> Result | Then:
    """Change a user's password, or whether the user must change it."""
    _refuse_session_limits(params)
    name, reset = params["UserName"], params.get("PasswordResetRequired")
    asked = login_profiles.ask_to_update(call.tx, call.caller, name, call.prepared)
    if asked is None:
        login_profiles.update(call.tx, call.caller, name, call.prepared, reset=reset, now=call.now)
        return {}

    def change(later: Call, answer: HostAnswer) -> Result:
        login_profiles.check_fresh(later.tx, later.caller, name, asked, answer.content)
        login_profiles.update(later.tx, later.caller, name, call.prepared, reset=reset, now=later.now)
        return {}

    return Then(asked, change)


@operation("DeleteLoginProfile", service="iam")
def delete_login_profile(call: Call, params: Params) -> Result:
    """Delete a user's password."""
    login_profiles.remove(call.tx, call.caller, params.get("UserName"))
    return {}


@operation("ChangePassword", service="iam", prepare=_hash)
def change_password(call: Call, params: Params) -> Then:
    """Change the caller's own password."""
    asked = login_profiles.ask_to_change(call.tx, call.caller, params["OldPassword"], call.prepared)

    def change(later: Call, answer: HostAnswer) -> Result:
        login_profiles.change(later.tx, later.caller, asked, call.prepared, answer.content, now=later.now)
        return {}

    return Then(asked, change)


def _refuse_session_limits(params: Params) -> None:
    for name in ("MaxSigninSessionDuration", "ResetMaxSigninSessionDuration"):
        if params.get(name):
            raise Unsupported(f"The parameter {name} is not supported.")
