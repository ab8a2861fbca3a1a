"""The values of condition keys about EC2's resources.

Only for resources that the caller sees anyway: another tenant's resources have no facts, like absent ones. See
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import select

from stead_controller.catalog.nouns import OF_TYPE
from stead_controller.db.tables import (
    CapacityReservation,
    ElasticAddress,
    IamInstanceProfile,
    IamRole,
    Image,
    ImageTask,
    Instance,
    InstanceProfileAssociation,
    InternetGateway,
    KeyPair,
    NatGateway,
    NetworkAcl,
    NetworkInterface,
    PlacementGroup,
    RouteTable,
    SecurityGroup,
    Snapshot,
    Subnet,
    Tag,
    Volume,
    Vpc,
    VpcEndpoint,
    VpcPeeringConnection,
)
from stead_controller.desired import peered_vpcs
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.lookup import Ways, batches, seen
from stead_controller.request.owners import CLOUD_ACCOUNT, CLOUD_ALIAS
from stead_controller.request.transaction import Transaction
from stead_controller.resources.images import images
from stead_controller.resources.storage import ebs_encryption, snapshots

type Arn = Callable[[str, str], str]  # from a kind and an id to the ARN of a resource of the caller's account
type Facts = dict[str, Any]
type SeenBy = Callable[[Transaction, Caller, Sequence[str]], Ways]

_PROFILE: Final = "ec2:InstanceProfile"
_TAG_PREFIXES: Final = ("aws:resourcetag/", "ec2:resourcetag/")


def _of_instance(row: Instance, arn: Arn) -> Facts:
    return {
        "ec2:AvailabilityZone": row.zone,
        "ec2:EbsOptimized": row.ebs_optimized,
        "ec2:InstanceAutoRecovery": "default" if row.auto_recovery else "disabled",
        "ec2:InstanceID": row.id,
        "ec2:InstanceMarketType": "on-demand" if row.spot_request_id is None else "spot",
        "ec2:InstanceMetadataTags": "enabled" if row.metadata_tags else "disabled",
        "ec2:InstanceType": row.instance_type,
        "ec2:MetadataHttpEndpoint": "enabled" if row.metadata_enabled else "disabled",
        "ec2:MetadataHttpPutResponseHopLimit": row.metadata_hop_limit,
        "ec2:MetadataHttpTokens": "required" if row.metadata_tokens_required else "optional",
        "ec2:RootDeviceType": "ebs",
        "ec2:Tenancy": row.tenancy,
        "ec2:Subnet": arn("subnet", row.subnet_id),
        "ec2:Vpc": arn("vpc", row.vpc_id),
    }


def _of_volume(row: Volume, arn: Arn) -> Facts:
    return {
        "ec2:AvailabilityZone": row.zone,
        "ec2:Encrypted": row.encrypted,
        "ec2:ParentSnapshot": arn("snapshot", row.snapshot_id) if row.snapshot_id else None,
        "ec2:VolumeID": row.id,
        "ec2:VolumeIops": row.iops,
        "ec2:VolumeSize": row.size,
        "ec2:VolumeThroughput": row.throughput,
        "ec2:VolumeType": row.volume_type,
    }


def _of_image(row: Image, arn: Arn) -> Facts:
    del arn
    return {
        "aws:ResourceAccount": row.account_id,
        "ec2:ImageID": row.id,
        "ec2:ImageType": "machine",
        "ec2:Owner": CLOUD_ALIAS if row.account_id == CLOUD_ACCOUNT else row.account_id,
        "ec2:Public": row.public,
        "ec2:RootDeviceType": "ebs",
    }


def _of_snapshot(row: Snapshot, arn: Arn) -> Facts:
    return {
        "aws:ResourceAccount": row.account_id,
        "ec2:Encrypted": row.encrypted,
        "ec2:Owner": row.account_id,
        "ec2:ParentVolume": arn("volume", row.volume_id),
        "ec2:SnapshotID": row.id,
        "ec2:SnapshotTime": row.started,
        "ec2:VolumeSize": row.volume_size,
    }


def _of_interface(row: NetworkInterface, arn: Arn) -> Facts:
    return {
        "ec2:AssociatePublicIpAddress": row.associate_public_address,
        "ec2:AvailabilityZone": row.zone,
        "ec2:NetworkInterfaceID": row.id,
        "ec2:Subnet": arn("subnet", row.subnet_id),
        "ec2:Vpc": arn("vpc", row.vpc_id),
    }


def _of_subnet(row: Subnet, arn: Arn) -> Facts:
    return {"ec2:AvailabilityZone": row.zone, "ec2:SubnetID": row.id, "ec2:Vpc": arn("vpc", row.vpc_id)}


def _of_peering(row: VpcPeeringConnection, arn: Arn) -> Facts:
    prefix, _, _ = arn("vpc", "").rpartition(":")
    region = prefix.rpartition(":")[0]
    return {
        "ec2:AccepterVpc": f"{region}:{row.accepter_account_id}:vpc/{row.accepter_vpc_id}",
        "ec2:RequesterVpc": f"{region}:{row.account_id}:vpc/{row.requester_vpc_id}",
        "ec2:VpcPeeringConnectionID": row.id,
    }


def _of_endpoint(row: VpcEndpoint, arn: Arn) -> Facts:
    return {
        "ec2:Vpc": arn("vpc", row.vpc_id),
        "ec2:VpceServiceName": row.service,
        "ec2:VpceServiceOwner": "amazon",
    }


def _in_vpc(key: str) -> Callable[[Any, Arn], Facts]:
    return lambda row, arn: {key: row.id, "ec2:Vpc": arn("vpc", row.vpc_id) if row.vpc_id else None}


def _own(table: Any) -> SeenBy:
    return lambda _tx, caller, _ids: [table.account_id == caller.account_id]


# The table of a resource type, the ways in which its rows are visible to the caller, and their facts.
_KINDS: Final[dict[str, tuple[Any, SeenBy, Callable[[Any, Arn], Facts]]]] = {
    "capacity-reservation": (CapacityReservation, _own(CapacityReservation), lambda *_: {}),
    "elastic-ip": (
        ElasticAddress,
        _own(ElasticAddress),
        lambda row, _: {"ec2:AllocationId": row.id, "ec2:Domain": "vpc", "ec2:PublicIpAddress": row.address},
    ),
    "export-image-task": (ImageTask, _own(ImageTask), lambda *_: {}),
    "image": (Image, images.ways, _of_image),
    "instance": (Instance, _own(Instance), _of_instance),
    "internet-gateway": (InternetGateway, _own(InternetGateway), _in_vpc("ec2:InternetGatewayID")),
    "key-pair": (
        KeyPair,
        _own(KeyPair),
        lambda row, _: {"ec2:KeyPairName": row.name, "ec2:KeyPairType": row.key_type},
    ),
    "natgateway": (NatGateway, _own(NatGateway), _in_vpc("ec2:NatGatewayID")),
    "network-acl": (NetworkAcl, _own(NetworkAcl), _in_vpc("ec2:NetworkAclID")),
    "network-interface": (NetworkInterface, _own(NetworkInterface), _of_interface),
    "placement-group": (
        PlacementGroup,
        _own(PlacementGroup),
        lambda row, _: {"ec2:PlacementGroupName": row.name, "ec2:PlacementGroupStrategy": row.strategy},
    ),
    "route-table": (RouteTable, _own(RouteTable), _in_vpc("ec2:RouteTableID")),
    "security-group": (SecurityGroup, _own(SecurityGroup), _in_vpc("ec2:SecurityGroupID")),
    "snapshot": (Snapshot, snapshots.ways, _of_snapshot),
    "subnet": (Subnet, _own(Subnet), _of_subnet),
    "volume": (Volume, _own(Volume), _of_volume),
    "vpc": (Vpc, _own(Vpc), lambda row, _: {"ec2:Tenancy": row.instance_tenancy, "ec2:VpcID": row.id}),
    "vpc-endpoint": (VpcEndpoint, _own(VpcEndpoint), _of_endpoint),
    "vpc-peering-connection": (VpcPeeringConnection, lambda _tx, caller, _ids: peered_vpcs.sides(caller), _of_peering),
}


def of(
    tx: Transaction, caller: Caller, cloud: Cloud, kind: str, resource_ids: Collection[str], *, keys: Collection[str]
) -> dict[str, Facts]:
    """Return the facts about resources by their ids (or names, where requests use those), as far as `keys` need them.

    `keys` are condition keys in lower case. Resources that the caller does not see have no facts.
    """
    found: dict[str, Facts] = {resource_id: {} for resource_id in resource_ids}
    if any(not key.startswith(_TAG_PREFIXES) for key in keys) and kind in _KINDS:
        _add_columns(tx, caller, cloud, kind, found)
    if kind == "instance" and _PROFILE.lower() in keys:
        _add_profiles(tx, caller, found)
    if any(key.startswith(_TAG_PREFIXES) for key in keys):
        _add_tags(tx, caller, kind, found)
    return found


def _add_columns(tx: Transaction, caller: Caller, cloud: Cloud, kind: str, found: Mapping[str, Facts]) -> None:
    def arn(of_kind: str, resource_id: str) -> str:
        return OF_TYPE[of_kind].arn(cloud.partition, cloud.region, caller.account_id, resource_id)

    table, ways, read = _KINDS[kind]
    name = "name" if OF_TYPE[kind].named else "id"
    for batch in batches(found):
        for row in seen(tx, table, getattr(table, name), batch, ways(tx, caller, batch)):
            found[getattr(row, name)].update(read(row, arn))


def _add_profiles(tx: Transaction, caller: Caller, found: Mapping[str, Facts]) -> None:
    columns = InstanceProfileAssociation.instance_id, InstanceProfileAssociation.profile_arn
    for batch in batches(found):
        mine = InstanceProfileAssociation.account_id == caller.account_id, columns[0].in_(batch)
        for instance_id, arn in tx.session.execute(select(*columns).where(*mine)):
            found[instance_id][_PROFILE] = arn


def _add_tags(tx: Transaction, caller: Caller, kind: str, found: Mapping[str, Facts]) -> None:
    names = {resource_id: resource_id for resource_id in found}
    if kind in OF_TYPE and OF_TYPE[kind].named:
        table = OF_TYPE[kind].table
        query = select(table.id, table.name).where(table.account_id == caller.account_id, table.name.in_(list(found)))
        names = {row[0]: row[1] for row in tx.session.execute(query)}
    for batch in batches(names):
        tags = select(Tag).where(Tag.resource_id.in_(batch), Tag.account_id == caller.account_id)
        for tag in tx.session.scalars(tags):
            for prefix in ("aws:ResourceTag/", "ec2:ResourceTag/"):
                found[names[tag.resource_id]][prefix + tag.key] = tag.value


def is_encrypted(tx: Transaction, caller: Caller, asked: bool, snapshot_id: str | None) -> bool:
    """Tell whether a new volume is encrypted: by the request, its snapshot or the account's setting."""
    if asked or ebs_encryption.is_by_default(tx, caller.account_id):
        return True
    if snapshot_id is None:
        return False
    ways = snapshots.ways(tx, caller, [snapshot_id])
    return any(seen(tx, Snapshot.encrypted, Snapshot.id, [snapshot_id], ways))


def volumes_of(tx: Transaction, caller: Caller, instance_id: str) -> list[str]:
    """Return the ids of the volumes that are attached to one of the caller's instances, sorted."""
    query = select(Volume.id).where(Volume.instance_id == instance_id, Volume.account_id == caller.account_id)
    return sorted(tx.session.scalars(query))


def role_of_profile(tx: Transaction, caller: Caller, cloud: Cloud, profile: str) -> str | None:
    """Return the ARN of the role in one of the caller's instance profiles, named by its ARN or name."""
    name = profile.rpartition("/")[2].lower() if profile.startswith("arn:") else profile.lower()
    query = (
        select(IamRole)
        .join(IamInstanceProfile, IamInstanceProfile.role_id == IamRole.id)
        .where(IamInstanceProfile.account_id == caller.account_id, IamInstanceProfile.name_lower == name)
    )
    role = tx.session.scalar(query)
    return f"arn:{cloud.partition}:iam::{role.account_id}:role{role.path}{role.name}" if role is not None else None
