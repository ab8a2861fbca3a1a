"""Groups and their users."""

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.iam import pages
from stead_controller.aws.iam.group_view import group_view
from stead_controller.aws.iam.user_view import listed_user_view
from stead_controller.resources.iam import groups
from stead_controller.resources.iam.groups import DescribedGroup


@operation("CreateGroup", service="iam")
def create_group(call: Call, params: Params) -> Result:
    """Create a group."""
    made = groups.create(call.tx, call.caller, params["GroupName"], params.get("Path"), call.now)
    return {"Group": group_view(made)}


@operation("GetGroup", service="iam", writes=False)
def get_group(call: Call, params: Params) -> Result:
    """Show a group and a page of its users."""
    page = describe.marker_page(call, params, "GetGroup")
    users = groups.members(call.tx, call.caller, params["GroupName"], pages.part(page, params))
    return {
        "Group": group_view(groups.get(call.tx, call.caller, params["GroupName"])),
        **pages.cut("Users", users, page, lambda found: (found.user.id,), listed_user_view),
    }


@operation("ListGroups", service="iam", writes=False)
def list_groups(call: Call, params: Params) -> Result:
    """List groups."""
    return pages.listed(
        call,
        params,
        "ListGroups",
        "Groups",
        read=lambda part: groups.search(call.tx, call.caller, part),
        key=_by_name,
        view=group_view,
    )


@operation("ListGroupsForUser", service="iam", writes=False)
def list_groups_for_user(call: Call, params: Params) -> Result:
    """List the groups that a user is in."""
    return pages.listed(
        call,
        params,
        "ListGroupsForUser",
        "Groups",
        read=lambda part: groups.of_user(call.tx, call.caller, params["UserName"], part),
        key=_by_name,
        view=group_view,
    )


@operation("UpdateGroup", service="iam")
def update_group(call: Call, params: Params) -> Result:
    """Change a group's name or path."""
    groups.rename(call.tx, call.caller, params["GroupName"], params.get("NewGroupName"), params.get("NewPath"))
    return {}


@operation("AddUserToGroup", service="iam")
def add_user_to_group(call: Call, params: Params) -> Result:
    """Put a user into a group."""
    groups.add_user(call.tx, call.caller, params["GroupName"], params["UserName"])
    return {}


@operation("RemoveUserFromGroup", service="iam")
def remove_user_from_group(call: Call, params: Params) -> Result:
    """Take a user out of a group."""
    groups.remove_user(call.tx, call.caller, params["GroupName"], params["UserName"])
    return {}


@operation("DeleteGroup", service="iam")
def delete_group(call: Call, params: Params) -> Result:
    """Delete an empty group."""
    groups.remove(call.tx, call.caller, params["GroupName"])
    return {}


def _by_name(found: DescribedGroup) -> tuple[str]:
    return (found.group.name_lower,)
