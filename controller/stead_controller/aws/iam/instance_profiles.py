"""Instance profiles."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.iam import pages
from stead_controller.aws.iam.instance_profile_view import instance_profile_view, listed_instance_profile_view
from stead_controller.aws.iam.tags_view import given_tags
from stead_controller.resources.iam import instance_profiles
from stead_controller.resources.iam.instance_profiles import DescribedInstanceProfile


@operation("CreateInstanceProfile", service="iam")
def create_instance_profile(call: Call, params: Params) -> Result:
    """Create an instance profile."""
    made = instance_profiles.create(
        call.tx,
        call.caller,
        params["InstanceProfileName"],
        path=params.get("Path"),
        tags=given_tags(params),
        now=call.now,
    )
    return {"InstanceProfile": instance_profile_view(made)}


@operation("GetInstanceProfile", service="iam", writes=False)
def get_instance_profile(call: Call, params: Params) -> Result:
    """Show an instance profile."""
    found = instance_profiles.get(call.tx, call.caller, params["InstanceProfileName"])
    return {"InstanceProfile": instance_profile_view(found)}


@operation("ListInstanceProfiles", service="iam", writes=False)
def list_instance_profiles(call: Call, params: Params) -> Result:
    """List instance profiles."""
    return pages.listed(
        call,
        params,
        "ListInstanceProfiles",
        "InstanceProfiles",
        read=lambda part: instance_profiles.search(call.tx, call.caller, part),
        key=_by_name,
        view=listed_instance_profile_view,
    )


@operation("ListInstanceProfilesForRole", service="iam", writes=False)
def list_instance_profiles_for_role(call: Call, params: Params) -> Result:
    """List the instance profiles that have a role."""
    return pages.listed(
        call,
        params,
        "ListInstanceProfilesForRole",
        "InstanceProfiles",
        read=lambda part: instance_profiles.of_role(call.tx, call.caller, params["RoleName"], part),
        key=_by_name,
        view=listed_instance_profile_view,
    )


@operation("AddRoleToInstanceProfile", service="iam")
def add_role_to_instance_profile(call: Call, params: Params) -> Result:
    """Put a role into an instance profile."""
    instance_profiles.add_role(call.tx, call.caller, params["InstanceProfileName"], params["RoleName"])
    return {}


@operation("RemoveRoleFromInstanceProfile", service="iam")
def remove_role_from_instance_profile(call: Call, params: Params) -> Result:
    """Take the role out of an instance profile."""
    instance_profiles.remove_role(call.tx, call.caller, params["InstanceProfileName"], params["RoleName"])
    return {}


@operation("DeleteInstanceProfile", service="iam")
def delete_instance_profile(call: Call, params: Params) -> Result:
    """Delete an instance profile without a role."""
    instance_profiles.remove(call.tx, call.caller, params["InstanceProfileName"])
    return {}


def _by_name(found: DescribedInstanceProfile) -> tuple[str]:
    return (found.profile.name_lower,)
