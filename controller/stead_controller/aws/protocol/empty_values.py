"""Where an empty string in a request to EC2 is meaningful; everywhere else EC2 ignores it.

Clients that store unset strings as empty, such as Terraform's provider, send `KeyName=&SubnetId=` with a launch and
`AvailabilityZoneId=` with a subnet, and get the same result as without them. Elements of lists (`Filter.1.Value.1=`,
which finds empty values, or `SecurityGroupId.1=`, which is no id) are never ignored and so not in this table.

IAM, STS and the other services of the query protocol differ: their references give most strings a minimum length of
one and they answer an empty one with ValidationError; where they allow it (the description of a role) it clears the
value.
"""

from typing import Final

# (shape, member) of EC2's model, `*` meaning any shape, and the meaning of an empty value.
MEANINGFUL: Final[dict[tuple[str, str], str]] = {
    ("Tag", "Value"): "a tag may have an empty value, and DeleteTags with one deletes only tags that have it",
    ("BlockDeviceMapping", "NoDevice"): "the device is left out, whatever the value; the reference says to send none",
    ("LaunchTemplateBlockDeviceMappingRequest", "NoDevice"): "as in BlockDeviceMapping, of a launch template",
    ("FleetBlockDeviceMappingRequest", "NoDevice"): "as in BlockDeviceMapping, of a fleet's override",
    ("InstanceBlockDeviceMappingSpecification", "NoDevice"): "as in BlockDeviceMapping, of an instance",
    ("AttributeValue", "Value"): "an attribute becomes empty (Description.Value of an image or an interface)",
    ("ModifyImageAttributeRequest", "Value"): "as AttributeValue, in the older form with Attribute=description",
    ("ModifyInstanceAttributeRequest", "Value"): "as AttributeValue, in the older form: empty user data",
    ("ModifyInstancePlacementRequest", "GroupName"): "the instance is to be in no placement group",
    ("*", "Description"): "a text of the user's: an empty one replaces the description of a rule or a prefix list",
}


def means_something(shape_name: str, member: str) -> bool:
    """Tell whether an empty string in this member of this shape differs from an absent one."""
    return (shape_name, member) in MEANINGFUL or ("*", member) in MEANINGFUL
