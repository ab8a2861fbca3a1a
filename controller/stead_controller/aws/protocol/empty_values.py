"""Where an empty string in a request to EC2 says something; everywhere else EC2 takes it as if it were not there.

Clients that keep unset strings as empty ones, such as Terraform's provider, send `KeyName=&SubnetId=` with a launch and
`AvailabilityZoneId=` with a subnet, and get what they would get without them. Elements of lists (`Filter.1.Value.1=`,
which finds empty values, or `SecurityGroupId.1=`, which is no id) are never dropped and so not in this table.

IAM, STS and the other services of the query protocol are not like this: their references give most strings a least
length of one and answer an empty one with ValidationError, and where they allow it (the description of a role) it
clears what was there.
"""

from typing import Final

# (shape, member) of EC2's model, `*` being any shape, and what an empty value says there.
MEANINGFUL: Final[dict[tuple[str, str], str]] = {
    ("Tag", "Value"): "a tag may have an empty value, and DeleteTags with one deletes only tags that have it",
    ("BlockDeviceMapping", "NoDevice"): "the device is left out, whatever the value; the reference says to send none",
    ("AttributeValue", "Value"): "an attribute becomes empty (Description.Value of an image or an interface)",
    ("ModifyImageAttributeRequest", "Value"): "as AttributeValue, in the older form with Attribute=description",
    ("ModifyInstanceAttributeRequest", "Value"): "as AttributeValue, in the older form: empty user data",
    ("*", "Description"): "a text of the user's: an empty one replaces the description of a rule or a prefix list",
}


def means_something(shape_name: str, member: str) -> bool:
    """Whether an empty string in this member of this shape differs from none."""
    return (shape_name, member) in MEANINGFUL or ("*", member) in MEANINGFUL
