"""Every module that defines operations, so that importing them all fills the table."""

import importlib
import pkgutil
from functools import cache
from typing import Final

from stead_controller.aws import (
    autoscaling,
    bcm_data_exports,
    budgets,
    ce,
    cloudtrail,
    cloudwatch,
    dlm,
    ebs,
    ec2,
    ec2_instance_connect,
    iam,
    pricing,
    servicequotas,
    sns,
    ssm,
    sts,
)

_SERVICES: Final = (
    autoscaling,
    bcm_data_exports,
    budgets,
    ce,
    cloudtrail,
    cloudwatch,
    dlm,
    ebs,
    ec2,
    ec2_instance_connect,
    iam,
    pricing,
    servicequotas,
    sns,
    ssm,
    sts,
)


@cache  # who asks again need not look through the folders
def load() -> None:
    """Import the operations of all services."""
    for service in _SERVICES:
        for module in pkgutil.walk_packages(service.__path__, f"{service.__name__}."):
            importlib.import_module(module.name)
