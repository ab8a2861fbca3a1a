"""Resource ids: how they are made, checked, and shortened to kernel names.

Both sides of the wire need the same rules: the controller makes ids, the agent derives the names of links,
namespaces and files from them so that everything it made can be found again by its id.
"""

import re
import secrets
from typing import Final

# Prefixes of EC2's long ids, by resource type as tagging calls it
# (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/resource-ids.html).
PREFIXES: Final[dict[str, str]] = {
    "instance": "i",
    "reservation": "r",
    "image": "ami",
    "snapshot": "snap",
    "volume": "vol",
    "vpc": "vpc",
    "subnet": "subnet",
    "security-group": "sg",
    "security-group-rule": "sgr",
    "network-interface": "eni",
    "network-interface-attachment": "eni-attach",
    "elastic-ip": "eipalloc",
    "elastic-ip-association": "eipassoc",
    "internet-gateway": "igw",
    "natgateway": "nat",
    "egress-only-internet-gateway": "eigw",
    "route-table": "rtb",
    "route-table-association": "rtbassoc",
    "network-acl": "acl",
    "network-acl-association": "aclassoc",
    "dhcp-options": "dopt",
    "vpc-peering-connection": "pcx",
    "vpc-endpoint": "vpce",
    "vpc-cidr-association": "vpc-cidr-assoc",
    "subnet-cidr-association": "subnet-cidr-assoc",
    "subnet-cidr-reservation": "scr",
    "prefix-list": "pl",
    "vpc-flow-log": "fl",
    "network-insights-path": "nip",
    "network-insights-analysis": "nia",
    "key-pair": "key",
    "lifecycle-policy": "policy",
    "import-image-task": "import-ami",
    "import-snapshot-task": "import-snap",
    "export-image-task": "export-ami",
    "iam-instance-profile-association": "iip-assoc",
    "host": "h",
}

_LONG_ID: Final = re.compile(r"(?P<prefix>[a-z]+(?:-[a-z]+)*)-(?P<hex>[0-9a-f]{17}|[0-9a-f]{8})\Z")
_INTERFACE_NAME_LIMIT: Final = 15  # IFNAMSIZ - 1


def new_id(resource_type: str) -> str:
    """Make a new unguessable id of a resource type, such as `i-0a1b2c3d4e5f67890`."""
    return f"{PREFIXES[resource_type]}-0{secrets.token_hex(8)}"


def is_id(resource_type: str, text: str) -> bool:
    """Tell whether `text` has the form of an id of this resource type (17 or, as EC2 once had, 8 hex digits)."""
    found = _LONG_ID.match(text)
    return found is not None and found["prefix"] == PREFIXES[resource_type]


def resource_type_of(text: str) -> str | None:
    """Name the resource type that an id's prefix stands for, or None when it is no id."""
    found = _LONG_ID.match(text)
    if not found:
        return None
    for resource_type, prefix in PREFIXES.items():
        if prefix == found["prefix"]:
            return resource_type
    return None


def link_name(prefix: str, resource_id: str) -> str:
    """Derive a kernel link name of at most 15 characters from a resource id.

    The last hex digits of the id fill what the prefix leaves: at 3 characters of prefix, 48 random bits.
    """
    digits = resource_id.rsplit("-", 1)[-1]
    room = _INTERFACE_NAME_LIMIT - len(prefix)
    return prefix + digits[-room:]
