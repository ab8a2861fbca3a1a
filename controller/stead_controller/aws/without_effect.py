"""Parameters that are accepted although no operation reads them, each with its reason; others are refused if unread.

A reason says why the answer is correct nevertheless: usually because the value is the behaviour anyway.
"""

from dataclasses import dataclass
from typing import Any, Final

from stead_controller.aws.protocol.codec import Codec
from stead_controller.aws.reading import Path, Reading, unread
from stead_controller.errors import Unsupported


@dataclass(frozen=True, slots=True)
class Accepted:
    """Values of a member that are accepted unread; all values if `values` is None."""

    reason: str
    values: tuple[Any, ...] | None = None


_OF_THE_TASK: Final = "a task that has a description itself shows that of its disk, too"
_TYPES_OF_KEYS: Final = "a condition's operator says as what it reads a value"
_INSTANT: Final = "an instant fleet does nothing more once it is made"
_LOGS: Final = "flow logs are written so"
_NO_ROLE: Final = "files of the caller's own are read and written, with its own rights"
_NONE: Final = "there are none, whichever are asked for"
_NO_NESTED: Final = "no guest is promised that it can run guests"
_NO_SRD: Final = "no interface has ENA Express"

_OF_TEMPLATES: Final = frozenset({"CreateLaunchTemplate", "CreateLaunchTemplateVersion"})

# By service and operation, `*` meaning all, and by the member's path without indices.
ACCEPTED: Final[dict[tuple[str, str, str], Accepted]] = {
    ("*", "*", "DryRun"): Accepted("the endpoint itself reads it, for every operation"),
    ("cloudtrail", "DescribeTrails", "includeShadowTrails"): Accepted(_NONE),
    ("cloudtrail", "DescribeTrails", "trailNameList"): Accepted(_NONE),
    ("cloudtrail", "ListEventDataStores", "MaxResults"): Accepted(_NONE),
    ("autoscaling", "*", "IncludeManagedResources"): Accepted("nothing here is managed by another service of AWS"),
    ("autoscaling", "DeleteTags", "Tags.PropagateAtLaunch"): Accepted("tags are deleted by their keys"),
    ("autoscaling", "DeleteTags", "Tags.Value"): Accepted("tags are deleted by their keys"),
    ("ec2", "*", "IncludeManagedResources"): Accepted("nothing here is managed by another service of AWS"),
    ("ec2", "AllocateHosts", "CpuOptions.AmdSevSnp"): Accepted("no instance has encrypted memory", ("disabled",)),
    ("ec2", "CancelImportTask", "CancelReason"): Accepted("a remark for people, which EC2 shows nowhere"),
    ("ec2", "CopySnapshot", "PresignedUrl"): Accepted("the source is in this region, so nothing is fetched by a URL"),
    ("ec2", "DescribeAddressesAttribute", "Attribute"): Accepted("it is the only attribute", ("domain-name",)),
    ("ec2", "CreateCapacityReservation", "EphemeralStorage"): Accepted("EC2 no longer reads it", (False,)),
    ("ec2", "CreateCapacityReservation", "Tenancy"): Accepted("slots are on shared hosts", ("default",)),
    ("ec2", "CreateFleet", "ReplaceUnhealthyInstances"): Accepted(_INSTANT, (False,)),
    ("ec2", "CreateFleet", "TerminateInstancesWithExpiration"): Accepted(_INSTANT, (False,)),
    ("ec2", "CreateFlowLogs", "DestinationOptions.FileFormat"): Accepted(_LOGS, ("plain-text",)),
    ("ec2", "CreateFlowLogs", "DestinationOptions.HiveCompatiblePartitions"): Accepted(_LOGS, (False,)),
    ("ec2", "CreateFlowLogs", "DestinationOptions.PerHourPartition"): Accepted(_LOGS, (False,)),
    ("ec2", "DescribeAvailabilityZones", "AllAvailabilityZones"): Accepted("all zones that there are are open to all"),
    ("ec2", "DescribeRegions", "AllRegions"): Accepted("all regions that there are are open to all"),
    ("ec2", "DescribeVpcClassicLinkDnsSupport", "MaxResults"): Accepted(_NONE),
    ("ec2", "ExportImage", "RoleName"): Accepted(_NO_ROLE),
    ("ec2", "GetConsoleOutput", "Latest"): Accepted("the output is always the latest"),
    ("ec2", "ImportImage", "DiskContainers.Description"): Accepted(_OF_THE_TASK),
    ("ec2", "ImportImage", "RoleName"): Accepted(_NO_ROLE),
    ("ec2", "ImportSnapshot", "DiskContainer.Description"): Accepted(_OF_THE_TASK),
    ("ec2", "ImportSnapshot", "RoleName"): Accepted(_NO_ROLE),
    ("ec2", "ModifyInstanceCpuOptions", "NestedVirtualization"): Accepted(_NO_NESTED, ("disabled",)),
    ("ec2", "RunInstances", "CpuOptions.AmdSevSnp"): Accepted("no instance has encrypted memory", ("disabled",)),
    ("ec2", "RunInstances", "CpuOptions.NestedVirtualization"): Accepted(_NO_NESTED, ("disabled",)),
    ("ec2", "RunInstances", "EnclaveOptions.Enabled"): Accepted("no instance has enclaves", (False,)),
    ("ec2", "RunInstances", "NetworkInterfaces.EnaSrdSpecification.EnaSrdEnabled"): Accepted(_NO_SRD, (False,)),
    ("ec2", "RunInstances", "NetworkInterfaces.EnaSrdSpecification.EnaSrdUdpSpecification.EnaSrdUdpEnabled"): Accepted(
        _NO_SRD, (False,)
    ),
    ("ec2", "RunInstances", "NetworkPerformanceOptions.BandwidthWeighting"): Accepted(
        "network and disks share no bandwidth of an instance", ("default",)
    ),
    **{
        ("iam", operation, member): Accepted(_NONE)
        for operation, members in (
            ("ListSSHPublicKeys", ("MaxItems",)),
            ("ListServerCertificates", ("MaxItems", "PathPrefix")),
            ("ListServiceSpecificCredentials", ("AllUsers", "MaxItems", "ServiceName")),
            ("ListSigningCertificates", ("MaxItems",)),
        )
        for member in members
    },
    **{
        ("ssm", "DescribeInstanceInformation", member): Accepted(_NONE)
        for member in (
            "Filters.Key",
            "Filters.Values",
            "InstanceInformationFilterList.key",
            "InstanceInformationFilterList.valueSet",
            "MaxResults",
        )
    },
    **{
        ("ssm", operation, "WithDecryption"): Accepted("no parameter is encrypted")
        for operation in ("GetParameter", "GetParameters", "GetParametersByPath")
    },
    ("ec2-instance-connect", "SendSerialConsoleSSHPublicKey", "SerialPort"): Accepted(
        "no instance has another serial port", (0,)
    ),
    ("iam", "SimulateCustomPolicy", "ContextEntries.ContextKeyType"): Accepted(_TYPES_OF_KEYS),
    ("iam", "SimulatePrincipalPolicy", "ContextEntries.ContextKeyType"): Accepted(_TYPES_OF_KEYS),
}


def accepted(service: str, operation: str, path: Path) -> Accepted | None:
    """Return what is accepted unread at a path."""
    if operation in _OF_TEMPLATES and path[0] == "LaunchTemplateData":
        operation, path = "RunInstances", path[1:]  # a template has what the launch by it has
    name = ".".join(step for step in path if isinstance(step, str))
    for where in ((service, operation), (service, "*"), ("*", "*")):
        found = ACCEPTED.get((*where, name))
        if found is not None:
            return found
    return None


def refuse_unread(codec: Codec, operation: str, params: Reading) -> None:
    """Raise Unsupported for the first member that a request has and its operation did not read."""
    for path, value in unread(params):
        found = accepted(codec.service.name, operation, path)
        if found is None or (found.values is not None and value not in found.values):
            name = codec.written(operation, path)
            raise Unsupported(f"The parameter {name} is not supported by this cloud.")
