"""Systems Manager's operations, on parameters and on the instances that it manages."""

from collections.abc import Iterator
from typing import Final

from stead_controller.aws.authorization.rule import Asked, Check, Part, Rule, Target, rule
from stead_controller.request.cloud import Cloud
from stead_controller.resources.images import image_parameters


def parameter(cloud: Cloud, selected: str) -> Target:
    """Return a public parameter as a target: its ARN has no account."""
    name, _ = image_parameters.split(selected)
    path = name if name.startswith("/") else f"/{name}"
    return Target(f"arn:{cloud.partition}:ssm:{cloud.region}::parameter{path}")


def _named(path: str) -> Part:
    def part(asked: Asked) -> Iterator[Check]:
        for name in asked.values(path):
            yield Check(parameter(asked.call.cloud, name))

    return part


RULES: Final[dict[str, Rule]] = {
    "DescribeInstanceInformation": rule(),
    "GetParameter": rule(_named("Name")),
    "GetParameters": rule(_named("Names")),
    "GetParametersByPath": rule(_named("Path")),
}
