"""The format of flow log records: which fields, in which order. Pure.

See https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html.
"""

import re
from typing import Final

from stead_controller.errors import InvalidParameter, Unsupported

VERSION_2: Final = (
    "version",
    "account-id",
    "interface-id",
    "srcaddr",
    "dstaddr",
    "srcport",
    "dstport",
    "protocol",
    "packets",
    "bytes",
    "start",
    "end",
    "action",
    "log-status",
)
# Fields of later versions that a host can determine
_LATER: Final = (
    "vpc-id",
    "subnet-id",
    "instance-id",
    "tcp-flags",
    "type",
    "pkt-srcaddr",
    "pkt-dstaddr",
    "region",
    "az-id",
    "flow-direction",
    "traffic-path",
)
_UNBUILT: Final = frozenset(
    {
        "sublocation-type",
        "sublocation-id",
        "pkt-src-aws-service",
        "pkt-dst-aws-service",
        "ecs-cluster-arn",
        "ecs-cluster-name",
        "ecs-container-instance-arn",
        "ecs-container-instance-id",
        "ecs-container-id",
        "ecs-second-container-id",
        "ecs-service-name",
        "ecs-task-definition-arn",
        "ecs-task-arn",
        "ecs-task-id",
        "reject-reason",
        "resource-id",
        "encryption-status",
    }
)
KNOWN: Final = frozenset(VERSION_2 + _LATER)
DEFAULT: Final = " ".join(f"${{{name}}}" for name in VERSION_2)
_FIELD: Final = re.compile(r"\$\{([a-z0-9-]+)\}\Z")


def check_format(text: str) -> str:
    """Return a format in canonical form, with fields separated by single spaces.

    Raises InvalidParameter for what is not a list of EC2's fields, Unsupported for fields of missing services.
    """
    names = []
    for word in text.split():
        found = _FIELD.match(word)
        if found is None or not (found[1] in KNOWN or found[1] in _UNBUILT):
            raise InvalidParameter(f"Unknown fields provided: {word[:80]}")
        if found[1] in _UNBUILT:
            raise Unsupported(f"The flow log field {word} is not supported.")
        if found[1] in names:
            raise InvalidParameter(f"The field {word} is given twice in the log format.")
        names.append(found[1])
    if not names:
        raise InvalidParameter("The log format must have at least one field.")
    return " ".join(f"${{{name}}}" for name in names)
