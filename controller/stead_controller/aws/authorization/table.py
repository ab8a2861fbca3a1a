"""The rules of all operations in one table; an operation without a rule is allowed to the root user only.

To add one: a line in the `RULES` of `rules/<noun>.py`. Files `ec2_*` are for EC2, `instance_connect` for EC2 Instance
Connect, `autoscaling_policies` for Auto Scaling, any other for the service that its name says.
"""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from typing import Final

from stead_controller.aws.authorization import rules
from stead_controller.aws.authorization.rule import Rule

_NAMES: Final = {"autoscaling_policies": "autoscaling", "instance_connect": "ec2-instance-connect"}


def _files() -> Iterator[tuple[str, Mapping[str, Rule]]]:
    for file in pkgutil.iter_modules(rules.__path__, f"{rules.__name__}."):
        name = file.name.rpartition(".")[2]
        service = "ec2" if name.startswith("ec2_") else _NAMES.get(name, name.replace("_", "-"))
        yield service, getattr(importlib.import_module(file.name), "RULES", {})


RULES: Final[dict[tuple[str, str], Rule]] = {
    (service, name): rule for service, found in _files() for name, rule in found.items()
}
