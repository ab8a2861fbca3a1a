"""The AWS services that Stead implements, and their botocore models, each loaded once."""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

import botocore.loaders
from botocore.model import OperationModel, ServiceModel, Shape, StructureShape

from stead_controller.aws.protocol.model_parts import Parts


class _Files(botocore.loaders.JSONFileLoader):
    """Reads models without their documentation, which is most of them and nothing reads but the names of filters."""

    def load_file(self, file_path: str) -> Any:
        """Return the content of the file of this name, which lacks its suffix, or None if there is none."""
        for suffix, opened in ((".json", open), (".json.gz", gzip.open)):
            if Path(file_path + suffix).is_file():
                with opened(file_path + suffix, "rb") as file:
                    content = json.loads(file.read(), object_pairs_hook=_without_documentation)
                kept = {name: Parts(content[name]) for name in ("operations", "shapes") if name in content}
                return content | kept
        return None


def _without_documentation(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dict; a member of a structure that has this name is a dict, and stays."""
    found = dict(pairs)
    if isinstance(found.get("documentation"), str) and found.get("shape") != "FilterList":
        del found["documentation"]
    return found


_LOADER: Final = botocore.loaders.Loader(file_loader=_Files())

# Signing name, as in the credential scope, to botocore's name of the service.
SIGNING_NAMES: Final[dict[str, str]] = {
    "ec2": "ec2",
    "sts": "sts",
    "iam": "iam",
    "autoscaling": "autoscaling",
    "monitoring": "cloudwatch",
    "ebs": "ebs",
    "dlm": "dlm",
    "cloudtrail": "cloudtrail",
    "servicequotas": "service-quotas",
    "ssm": "ssm",
    "ec2-instance-connect": "ec2-instance-connect",
    "sns": "sns",
    "ce": "ce",
    "pricing": "pricing",
    "budgets": "budgets",
    "bcm-data-exports": "bcm-data-exports",
}

# Signing names that some SDKs use instead if they have a custom endpoint: the model's serviceId.
_SERVICE_IDS: Final[dict[str, str]] = {
    "EC2": "ec2",
    "STS": "sts",
    "IAM": "iam",
    "Auto Scaling": "autoscaling",
    "CloudWatch": "cloudwatch",
    "EBS": "ebs",
    "DLM": "dlm",
    "CloudTrail": "cloudtrail",
    "Service Quotas": "service-quotas",
    "SSM": "ssm",
    "EC2 Instance Connect": "ec2-instance-connect",
    "SNS": "sns",
    "Cost Explorer": "ce",
    "Pricing": "pricing",
    "Budgets": "budgets",
    "BCM Data Exports": "bcm-data-exports",
}

# Names of services in X-Amz-Target and in the paths of the CBOR protocol.
_TARGETS: Final[dict[str, str]] = {
    "GraniteServiceVersion20100801": "cloudwatch",
    "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101": "cloudtrail",
    "ServiceQuotasV20190624": "service-quotas",
    "AmazonSSM": "ssm",
    "AWSEC2InstanceConnectService": "ec2-instance-connect",
    "AWSInsightsIndexService": "ce",
    "AWSPriceListService": "pricing",
    "AWSBudgetServiceGateway": "budgets",
    "AWSBillingAndCostManagementDataExports": "bcm-data-exports",
}

SERVICES: Final = frozenset(SIGNING_NAMES.values())
"""The services whose model Stead uses, by botocore's names."""

# The input or output of an operation that has none.
NO_MEMBERS: Final = StructureShape("NoMembers", {"type": "structure", "members": {}})


@dataclass(frozen=True)
class Service:
    """A service's model together with the names of the service."""

    name: str
    signing_name: str
    model: ServiceModel
    operation_names: frozenset[str]

    def error_names(self, code: str) -> tuple[str, str]:
        """Return the two names of an error, which may be given by either: its shape's, and its code in documents.

        They differ only in services that had the query protocol and now have others.
        """
        return self._error_names.get(code, (code, code))

    @cached_property
    def _error_names(self) -> dict[str, tuple[str, str]]:
        found: dict[str, tuple[str, str]] = {}
        if "awsQueryCompatible" not in self.model.metadata:
            return found
        shapes = {shape.name: shape.metadata.get("error", {}).get("code") or shape.name for shape in self._errors()}
        for shape, code in shapes.items():
            found.setdefault(code, (shape, code))
        return found | {shape: (shape, code) for shape, code in shapes.items()}

    def _errors(self) -> Iterator[Shape]:
        for name in sorted(self.model.shape_names):
            shape = self.model.shape_for(name)
            if shape.metadata.get("exception"):
                yield shape

    def operation(self, name: str) -> OperationModel:
        """Return the model of one of this service's operations."""
        return self.model.operation_model(name)


@cache
def load_service(name: str) -> Service:
    """Load a service's model by its botocore name (0.05 s for ec2, then cached)."""
    description = _LOADER.load_service_model(name, "service-2")
    model = ServiceModel(description, name)
    signing_name = next((signing for signing, service in SIGNING_NAMES.items() if service == name), name)
    return Service(name, signing_name, model, frozenset(model.operation_names))


@cache
def api_versions(name: str) -> frozenset[str]:
    """Return the API versions of a service that botocore knows."""
    return frozenset(_LOADER.list_api_versions(name, "service-2"))


def region_description(code: str) -> str | None:
    """Return AWS's own name of the region that has this code there, such as US East (N. Virginia)."""
    regions = _LOADER.load_data("partitions")["partitions"][0]["regions"]
    found = regions.get(code, {}).get("description")
    return found if isinstance(found, str) else None


def service_of_scope(name: str) -> str | None:
    """Return the service that a credential scope names."""
    return SIGNING_NAMES.get(name) or _SERVICE_IDS.get(name)


def service_of_target(name: str) -> str | None:
    """Return the service that a target names."""
    return _TARGETS.get(name)


def service_of_version(version: str) -> str | None:
    """Return the query service whose current API has this date."""
    return _CURRENT_VERSIONS.get(version)


# Each service's API has its own date, so a date identifies the service if nothing else does.
_CURRENT_VERSIONS: Final[dict[str, str]] = {
    "2016-11-15": "ec2",
    "2011-06-15": "sts",
    "2010-05-08": "iam",
    "2011-01-01": "autoscaling",
    "2010-08-01": "cloudwatch",
    "2010-03-31": "sns",
}
