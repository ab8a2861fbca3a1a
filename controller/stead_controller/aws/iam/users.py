"""CreateUser, GetUser, ListUsers, UpdateUser, DeleteUser."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.iam import pages
from stead_controller.aws.iam.tags_view import given_tags
from stead_controller.aws.iam.user_view import listed_user_view, root_view, user_view
from stead_controller.resources.iam import users


@operation("CreateUser", service="iam")
def create_user(call: Call, params: Params) -> Result:
    """Create a user."""
    request = users.NewUser(
        name=params["UserName"],
        path=params.get("Path"),
        boundary_arn=params.get("PermissionsBoundary"),
        tags=given_tags(params),
    )
    return {"User": user_view(users.create(call.tx, call.caller, request, call.now))}


@operation("GetUser", service="iam", writes=False)
def get_user(call: Call, params: Params) -> Result:
    """Show a user, or the caller."""
    found = users.get(call.tx, call.caller, params.get("UserName"))
    return {"User": root_view(found) if isinstance(found, users.Root) else user_view(found)}


@operation("ListUsers", service="iam", writes=False)
def list_users(call: Call, params: Params) -> Result:
    """List users."""
    return pages.listed(
        call,
        params,
        "ListUsers",
        "Users",
        read=lambda part: users.search(call.tx, call.caller, part),
        key=lambda found: (found.user.name_lower,),
        view=listed_user_view,
    )


@operation("UpdateUser", service="iam")
def update_user(call: Call, params: Params) -> Result:
    """Change a user's name or path."""
    users.rename(call.tx, call.caller, params["UserName"], params.get("NewUserName"), params.get("NewPath"))
    return {}


@operation("DeleteUser", service="iam")
def delete_user(call: Call, params: Params) -> Result:
    """Delete a user, who must have no keys, policies, groups and the like any more."""
    users.remove(call.tx, call.caller, params["UserName"])
    return {}
