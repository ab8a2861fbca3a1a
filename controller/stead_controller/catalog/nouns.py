"""The kinds of resources that EC2's requests name: one row holds everything that depends on the kind alone.

A kind has the name that tagging uses. Prefixes are those of EC2's long ids
(https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/resource-ids.html), codes are EC2's published ones
(https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html). Tools compare the "does not exist"
messages, so they are EC2's own where its answers are quoted in public; otherwise they have the most common form,
`The <kind> ID '<id>' does not exist`, with EC2's name of the kind.
"""

from dataclasses import dataclass
from typing import Any, Final

from stead_controller.db import tables

_PLAIN: Final = ("The {word} '{names}' does not exist", "The {word}s '{names}' do not exist")
_BY_ID: Final = ("The {word} ID '{names}' does not exist", "The {word} IDs '{names}' do not exist")
_SENTENCE: Final = ("The {word} '{names}' does not exist.", "The {word}s '{names}' do not exist.")
_IN_BRACKETS: Final = ("The {word} id '[{names}]' does not exist", "The {word} ids '[{names}]' do not exist")


@dataclass(frozen=True, slots=True)
class Noun:
    """A kind of resource.

    `malformed`, `absent`, `duplicate` and `wrong_state` are EC2's codes; without one the general code of
    `aws/errors.py` is used. `sentence` says that one or several do not exist. A kind with a `table` can be tagged. A
    kind with a `domain` has its own files in each layer, named by `file`, or by its type if that is empty.
    """

    type: str
    prefix: str
    malformed: str = ""
    absent: str = ""
    duplicate: str = ""
    wrong_state: str = ""
    word: str = ""
    sentence: tuple[str, str] | None = None
    table: Any = None
    domain: str = ""
    file: str = ""
    of_no_account: bool = False  # its ARN has none
    named: bool = False  # requests and ARNs have its name, not its id

    def arn(self, partition: str, region: str, account_id: str, resource_id: str) -> str:
        """Return the ARN of one resource, with its resource type in IAM."""
        account = "" if self.of_no_account else account_id
        return f"arn:{partition}:ec2:{region}:{account}:{self.type}/{resource_id}"

    def not_found(self, names: list[str]) -> str | None:
        """Return EC2's message that some do not exist; None where this kind has none of its own."""
        if self.sentence is None:
            return None
        return self.sentence[len(names) > 1].format(word=self.word, names=", ".join(names))


NOUNS: Final = (
    Noun(
        "instance",
        "i",
        malformed="InvalidInstanceID.Malformed",
        absent="InvalidInstanceID.NotFound",
        wrong_state="IncorrectInstanceState",
        word="instance",
        sentence=_BY_ID,
        table=tables.Instance,
        domain="instances",
    ),
    Noun(
        "reservation",
        "r",
        malformed="InvalidReservationID.Malformed",
        absent="InvalidReservationID.NotFound",
        word="reservation",
        sentence=_BY_ID,
    ),
    Noun(
        "image",
        "ami",
        of_no_account=True,
        malformed="InvalidAMIID.Malformed",
        absent="InvalidAMIID.NotFound",
        duplicate="InvalidAMIName.Duplicate",
        wrong_state="InvalidAMIID.Unavailable",
        word="image",
        sentence=_IN_BRACKETS,
        table=tables.Image,
        domain="images",
    ),
    Noun(
        "snapshot",
        "snap",
        of_no_account=True,
        malformed="InvalidSnapshotID.Malformed",
        absent="InvalidSnapshot.NotFound",
        wrong_state="IncorrectState",
        word="snapshot",
        sentence=_SENTENCE,
        table=tables.Snapshot,
        domain="storage",
    ),
    Noun(
        "volume",
        "vol",
        malformed="InvalidParameterValue",
        absent="InvalidVolume.NotFound",
        word="volume",
        sentence=_SENTENCE,
        table=tables.Volume,
        domain="storage",
    ),
    Noun(
        "vpc",
        "vpc",
        malformed="InvalidVpcID.Malformed",
        absent="InvalidVpcID.NotFound",
        duplicate="DefaultVpcAlreadyExists",
        word="vpc",
        sentence=_BY_ID,
        table=tables.Vpc,
        domain="network",
    ),
    Noun(
        "subnet",
        "subnet",
        malformed="InvalidSubnetID.Malformed",
        absent="InvalidSubnetID.NotFound",
        duplicate="InvalidSubnet.Conflict",
        word="subnet",
        sentence=_BY_ID,
        table=tables.Subnet,
        domain="network",
    ),
    Noun(
        "security-group",
        "sg",
        malformed="InvalidGroupId.Malformed",
        absent="InvalidGroup.NotFound",
        duplicate="InvalidGroup.Duplicate",
        word="security group",
        sentence=_PLAIN,
        table=tables.SecurityGroup,
        domain="network",
    ),
    Noun(
        "security-group-rule",
        "sgr",
        malformed="InvalidSecurityGroupRuleId.Malformed",
        absent="InvalidSecurityGroupRuleId.NotFound",
        duplicate="InvalidPermission.Duplicate",
        word="security group rule",
        sentence=_BY_ID,
        table=tables.SecurityGroupRule,
    ),
    Noun(
        "network-interface",
        "eni",
        malformed="InvalidNetworkInterfaceId.Malformed",
        absent="InvalidNetworkInterfaceID.NotFound",
        word="networkInterface",
        sentence=_BY_ID,
        table=tables.NetworkInterface,
        domain="network",
    ),
    Noun(
        "network-interface-attachment",
        "eni-attach",
        malformed="InvalidNetworkInterfaceAttachmentId.Malformed",
        absent="InvalidAttachmentID.NotFound",
        word="networkInterfaceAttachment",
        sentence=_BY_ID,
    ),
    Noun(
        "elastic-ip",
        "eipalloc",
        malformed="InvalidAllocationID.Malformed",
        absent="InvalidAllocationID.NotFound",
        word="allocation",
        sentence=_BY_ID,
        table=tables.ElasticAddress,
        domain="network",
        file="elastic_address",
    ),
    Noun(
        "elastic-ip-association",
        "eipassoc",
        malformed="InvalidAssociationID.Malformed",
        absent="InvalidAssociationID.NotFound",
        word="association",
        sentence=_BY_ID,
    ),
    Noun(
        "internet-gateway",
        "igw",
        malformed="InvalidInternetGatewayId.Malformed",
        absent="InvalidInternetGatewayID.NotFound",
        word="internetGateway",
        sentence=_BY_ID,
        table=tables.InternetGateway,
        domain="network",
    ),
    Noun(
        "natgateway",
        "nat",
        malformed="NatGatewayMalformed",
        absent="NatGatewayNotFound",
        sentence=("The Nat Gateway {names} was not found", "The Nat Gateways {names} were not found"),
        table=tables.NatGateway,
        domain="network",
        file="nat_gateway",
    ),
    Noun(
        "egress-only-internet-gateway",
        "eigw",
        malformed="InvalidEgressOnlyInternetGatewayId.Malformed",
        absent="InvalidEgressOnlyInternetGatewayId.NotFound",
        word="egressOnlyInternetGateway",
        sentence=_BY_ID,
        table=tables.EgressOnlyInternetGateway,
    ),
    Noun(
        "route-table",
        "rtb",
        malformed="InvalidRouteTableId.Malformed",
        absent="InvalidRouteTableID.NotFound",
        word="routeTable",
        sentence=_BY_ID,
        table=tables.RouteTable,
        domain="network",
    ),
    Noun(
        "route-table-association",
        "rtbassoc",
        malformed="InvalidRouteTableAssociationID.Malformed",
        absent="InvalidAssociationID.NotFound",
        word="association",
        sentence=_BY_ID,
    ),
    Noun(
        "network-acl",
        "acl",
        malformed="InvalidNetworkAclId.Malformed",
        absent="InvalidNetworkAclID.NotFound",
        word="networkAcl",
        sentence=_BY_ID,
        table=tables.NetworkAcl,
        domain="network",
    ),
    Noun(
        "network-acl-association",
        "aclassoc",
        malformed="InvalidAssociationID.Malformed",
        absent="InvalidAssociationID.NotFound",
        word="association",
        sentence=_BY_ID,
    ),
    Noun(
        "dhcp-options",
        "dopt",
        malformed="InvalidDhcpOptionsId.Malformed",
        absent="InvalidDhcpOptionID.NotFound",
        word="dhcpOption",
        sentence=_BY_ID,
        table=tables.DhcpOptions,
        domain="network",
        file="dhcp_options",
    ),
    Noun(
        "vpc-peering-connection",
        "pcx",
        malformed="InvalidVpcPeeringConnectionId.Malformed",
        absent="InvalidVpcPeeringConnectionID.NotFound",
        duplicate="VpcPeeringConnectionAlreadyExists",
        wrong_state="InvalidStateTransition",
        word="vpcPeeringConnection",
        sentence=_BY_ID,
        table=tables.VpcPeeringConnection,
        domain="network",
    ),
    Noun(
        "vpc-endpoint",
        "vpce",
        malformed="InvalidVpcEndpointId.Malformed",
        absent="InvalidVpcEndpointId.NotFound",
        sentence=("The Vpc Endpoint Id '{names}' does not exist", "The Vpc Endpoint Ids '{names}' do not exist"),
        table=tables.VpcEndpoint,
        domain="network",
    ),
    Noun(
        "vpc-cidr-association",
        "vpc-cidr-assoc",
        malformed="InvalidVpcCidrBlockAssociationID.Malformed",
        absent="InvalidVpcCidrBlockAssociationID.NotFound",
        word="vpc CIDR block association",
        sentence=_BY_ID,
    ),
    Noun(
        "subnet-cidr-association",
        "subnet-cidr-assoc",
        malformed="InvalidSubnetCidrBlockAssociationID.Malformed",
        absent="InvalidSubnetCidrBlockAssociationID.NotFound",
        sentence=(
            "The subnet CIDR block with association ID '{names}' does not exist",
            "The subnet CIDR blocks with association IDs '{names}' do not exist",
        ),
    ),
    Noun(
        "subnet-cidr-reservation",
        "scr",
        malformed="InvalidSubnetCidrReservationID.Malformed",
        absent="InvalidSubnetCidrReservationID.NotFound",
        table=tables.SubnetCidrReservation,
        domain="network",
    ),
    Noun(
        "prefix-list",
        "pl",
        malformed="InvalidPrefixListId.Malformed",
        absent="InvalidPrefixListID.NotFound",
        word="prefix list",
        sentence=_BY_ID,
        table=tables.PrefixList,
        domain="network",
    ),
    Noun(
        "vpc-flow-log",
        "fl",
        malformed="InvalidFlowLogId.Malformed",
        absent="InvalidFlowLogId.NotFound",
        duplicate="FlowLogAlreadyExists",
        table=tables.FlowLog,
        domain="network",
        file="flow_log",
    ),
    Noun(
        "network-insights-path",
        "nip",
        malformed="InvalidNetworkInsightsPathId.Malformed",
        absent="InvalidNetworkInsightsPathId.NotFound",
        table=tables.NetworkInsightsPath,
    ),
    Noun(
        "network-insights-analysis",
        "nia",
        malformed="InvalidNetworkInsightsAnalysisId.Malformed",
        absent="InvalidNetworkInsightsAnalysisId.NotFound",
        table=tables.NetworkInsightsAnalysis,
    ),
    Noun(
        "key-pair",
        "key",
        malformed="InvalidKeyPair.Malformed",
        absent="InvalidKeyPair.NotFound",
        duplicate="InvalidKeyPair.Duplicate",
        word="key pair",
        sentence=_PLAIN,
        table=tables.KeyPair,
        named=True,
        domain="instances",
    ),
    Noun(
        "replace-root-volume-task",
        "replacevol",
        malformed="InvalidReplaceRootVolumeTaskId.Malformed",
        absent="InvalidReplaceRootVolumeTaskId.NotFound",
        word="replace root volume task",
        sentence=_BY_ID,
        table=tables.ReplaceRootVolumeTask,
        domain="instances",
    ),
    Noun(
        "instance-event",
        "instance-event",
        malformed="InvalidInstanceEventIDNotFound",
        absent="InvalidInstanceEventIDNotFound",
        word="instance event",
        sentence=_BY_ID,
        domain="instances",
    ),
    Noun(
        "instance-event-window",
        "iew",
        malformed="InvalidInstanceEventWindowID.Malformed",
        absent="InvalidInstanceEventWindowID.NotFound",
        word="instance event window",
        sentence=_BY_ID,
        table=tables.InstanceEventWindow,
        domain="instances",
    ),
    Noun("lifecycle-policy", "policy", malformed="InvalidID", absent="InvalidID"),
    Noun(
        "import-image-task",
        "import-ami",
        malformed="InvalidConversionTaskId.Malformed",
        absent="InvalidConversionTaskId",
        table=tables.ImageTask,
    ),
    Noun(
        "import-snapshot-task",
        "import-snap",
        malformed="InvalidConversionTaskId.Malformed",
        absent="InvalidConversionTaskId",
        table=tables.ImageTask,
    ),
    Noun(
        "export-image-task",
        "export-ami",
        malformed="InvalidExportTaskID.Malformed",
        absent="InvalidExportTaskID.NotFound",
        table=tables.ImageTask,
    ),
    Noun(
        "iam-instance-profile-association",
        "iip-assoc",
        malformed="InvalidParameterValue",
        absent="InvalidAssociationID.NotFound",
        sentence=(
            "An invalid association-id of '{names}' was given",
            "Invalid association-ids of '{names}' were given",
        ),
    ),
    Noun(
        "host", "h", malformed="InvalidHostID.Malformed", absent="InvalidHostID.NotFound", word="host", sentence=_BY_ID
    ),
    Noun("volume-attachment", "", absent="InvalidAttachment.NotFound"),
    Noun(
        "public-ip",
        "",
        absent="InvalidAddress.NotFound",
        sentence=("Address '{names}' not found.", "Addresses '{names}' not found."),
    ),
    Noun("route", "", absent="InvalidRoute.NotFound", duplicate="RouteAlreadyExists"),
    Noun("network-acl-entry", "", absent="InvalidNetworkAclEntry.NotFound", duplicate="NetworkAclEntryAlreadyExists"),
    Noun("availability-zone", "", absent="InvalidZone.NotFound"),
    Noun("region", "", absent="InvalidRegion"),
    Noun(
        "placement-group",
        "pg",
        malformed="InvalidPlacementGroupId.Malformed",
        absent="InvalidPlacementGroup.Unknown",
        duplicate="InvalidPlacementGroup.Duplicate",
        sentence=("The Placement Group '{names}' is unknown.", "The Placement Groups '{names}' are unknown."),
        table=tables.PlacementGroup,
        named=True,
        domain="fleet",
    ),
    Noun(
        "launch-template",
        "lt",
        malformed="InvalidLaunchTemplateId.Malformed",
        absent="InvalidLaunchTemplateId.NotFound",
        duplicate="InvalidLaunchTemplateName.AlreadyExistsException",
        sentence=(
            "The specified launch template, with template ID {names}, does not exist.",
            "The specified launch templates, with template IDs {names}, do not exist.",
        ),
        table=tables.LaunchTemplate,
        domain="fleet",
    ),
    Noun(
        "fleet",
        "fleet",
        malformed="InvalidFleetId.Malformed",
        absent="InvalidFleetId.NotFound",
        word="fleet",
        sentence=_BY_ID,
        table=tables.Fleet,
        domain="fleet",
    ),
    Noun(
        "spot-instances-request",
        "sir",
        malformed="InvalidSpotInstanceRequestID.Malformed",
        absent="InvalidSpotInstanceRequestID.NotFound",
        word="spot instance request",
        sentence=_BY_ID,
        table=tables.SpotRequest,
        domain="fleet",
        file="spot_request",
    ),
    Noun(
        "capacity-reservation",
        "cr",
        malformed="InvalidCapacityReservationId.Malformed",
        absent="InvalidCapacityReservationId.NotFound",
        wrong_state="InvalidCapacityReservationState",
        word="capacity reservation ID",
        sentence=("The {word} '{names}' was not found", "The {word}s '{names}' were not found"),
        table=tables.CapacityReservation,
        domain="fleet",
    ),
    Noun(
        "dedicated-host",
        "h",
        malformed="InvalidHostID.Malformed",
        absent="InvalidHostID.NotFound",
        wrong_state="InvalidHostState",
        word="dedicated host",
        sentence=_BY_ID,
        table=tables.DedicatedHost,
        domain="fleet",
    ),
    Noun("instance-type", "", absent="InvalidInstanceType"),
)
"""Kinds with a prefix have ids; the others are named in other ways, and only their codes are used.

Hosts of the cloud have the prefix of EC2's Dedicated Hosts: no request can name both.
"""

OF_TYPE: Final = {noun.type: noun for noun in NOUNS}
OF_PREFIX: Final = {noun.prefix: noun for noun in NOUNS if noun.prefix}
