"""The rules of all operations in one table; an operation without one is allowed to nobody but its account's root.

To add one: a line in the `RULES` of `rules/<noun>.py`, whose file stands in `_FILES` here.
"""

from collections.abc import Mapping
from typing import Final

from stead_controller.aws.authorization.rule import Rule
from stead_controller.aws.authorization.rules import (
    dlm,
    ebs,
    ec2_fleet,
    ec2_images,
    ec2_instances,
    ec2_network,
    ec2_reading,
    ec2_security_groups,
    ec2_storage,
    ec2_tags,
    iam,
    operations_of_accounts,
    sts,
)

_FILES: Final[tuple[tuple[str, Mapping[str, Rule]], ...]] = (
    ("cloudtrail", operations_of_accounts.CLOUDTRAIL),
    ("dlm", dlm.RULES),
    ("ebs", ebs.RULES),
    ("ec2", ec2_fleet.RULES),
    ("ec2", ec2_images.RULES),
    ("ec2", ec2_instances.RULES),
    ("ec2", ec2_network.RULES),
    ("ec2", ec2_reading.RULES),
    ("ec2", ec2_security_groups.RULES),
    ("ec2", ec2_storage.RULES),
    ("ec2", ec2_tags.RULES),
    ("iam", iam.RULES),
    ("service-quotas", operations_of_accounts.SERVICE_QUOTAS),
    ("sts", sts.RULES),
)
RULES: Final[dict[tuple[str, str], Rule]] = {
    (service, name): rule for service, rules in _FILES for name, rule in rules.items()
}
