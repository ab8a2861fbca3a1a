"""Associations of instance profiles with instances: associate, replace, disassociate, describe."""

from collections.abc import Mapping

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.ec2 import selection
from stead_controller.aws.ec2.instances.profile_association_view import profile_association_view
from stead_controller.errors import MissingParameter
from stead_controller.resources.instances import profile_associations
from stead_controller.resources.instances.profile_associations import ProfileName


def profile_name(given: Mapping[str, str]) -> ProfileName:
    """Read the name or ARN by which a request names an instance profile."""
    return ProfileName(given.get("Name"), given.get("Arn"))


@operation("AssociateIamInstanceProfile")
def associate(call: Call, params: Params) -> Result:
    """Associate an instance profile with an instance."""
    named = profile_name(params.get("IamInstanceProfile", {}))
    instance_id = _required(params, "InstanceId")
    made = profile_associations.associate(call.tx, call.caller, call.cloud, instance_id, named, now=call.now)
    return {"IamInstanceProfileAssociation": profile_association_view(made)}


@operation("ReplaceIamInstanceProfileAssociation")
def replace(call: Call, params: Params) -> Result:
    """Replace the instance profile of an instance."""
    named = profile_name(params.get("IamInstanceProfile", {}))
    association_id = _required(params, "AssociationId")
    made = profile_associations.replace(call.tx, call.caller, call.cloud, association_id, named, now=call.now)
    return {"IamInstanceProfileAssociation": profile_association_view(made)}


@operation("DisassociateIamInstanceProfile")
def disassociate(call: Call, params: Params) -> Result:
    """Disassociate the instance profile from an instance."""
    ended = profile_associations.disassociate(call.tx, call.caller, _required(params, "AssociationId"))
    return {"IamInstanceProfileAssociation": profile_association_view(ended)}


@operation("DescribeIamInstanceProfileAssociations", writes=False)
def describe(call: Call, params: Params) -> Result:
    """List associations."""
    asked, page = selection.paged(
        call, params, "DescribeIamInstanceProfileAssociations", profile_associations.FILTERS, ids="AssociationIds"
    )
    found = profile_associations.describe(call.tx, call.caller, asked)
    return selection.answered(
        "IamInstanceProfileAssociations", found, page, lambda one: (one.id,), profile_association_view
    )


def _required(params: Params, name: str) -> str:
    if name not in params:
        raise MissingParameter(name)
    return str(params[name])
