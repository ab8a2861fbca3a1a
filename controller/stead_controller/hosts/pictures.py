"""Rows become the messages of `desired.proto`; nothing is written."""

from collections.abc import Iterable

from google.protobuf.message import Message
from sqlalchemy import select

from stead_controller.db.session import Transaction
from stead_controller.db.tables import (
    CloudFact,
    Image,
    Instance,
    InterfaceAddress,
    InterfaceGroup,
    NetworkInterface,
    PublicAddress,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
    Tag,
    Volume,
    Vpc,
)
from stead_controller.names import private_domain, private_name
from stead_proto.v1 import desired_pb2 as pb

type Key = tuple[int, str]

GIB = 1 << 30
_FIELDS: dict[type[Message], str] = {
    pb.HostNetwork: "host_network",
    pb.Image: "image",
    pb.Volume: "volume",
    pb.Vpc: "vpc",
    pb.Subnet: "subnet",
    pb.SecurityGroup: "security_group",
    pb.Interface: "interface",
    pb.Machine: "machine",
}
_RUNNING_STATES = frozenset({"pending", "running"})


def resource(resource_id: str, body: Message) -> pb.Resource:
    """Wrap a body into the Resource that carries it; its revision is set when it is sent."""
    wrapped = pb.Resource(id=resource_id)
    getattr(wrapped, _FIELDS[type(body)]).CopyFrom(body)
    return wrapped


def of_host_network(public_pools: Iterable[str]) -> pb.HostNetwork:
    """The pools of public addresses."""
    return pb.HostNetwork(public_pools=list(public_pools))


def of_image(image: Image) -> pb.Image:
    """What a host must know to fetch an image's base and to check it."""
    return pb.Image(
        sha256=image.sha256, file_size=image.file_size, virtual_size=image.virtual_size, format=image.format
    )


def of_vpc(vpc: Vpc, region: str) -> pb.Vpc:
    """A VPC as its hosts see it."""
    return pb.Vpc(
        vni=vpc.vni,
        cidr_blocks=[vpc.cidr_block],
        dns_support=vpc.dns_support,
        dns_hostnames=vpc.dns_hostnames,
        domain_name=private_domain(region),
    )


def of_subnet(subnet: Subnet) -> pb.Subnet:
    """A subnet as its hosts see it."""
    return pb.Subnet(vpc_id=subnet.vpc_id, cidr_block=subnet.cidr_block, internet=subnet.internet)


def of_group(tx: Transaction, group_id: str) -> pb.SecurityGroup:
    """A security group with its rules and the addresses of its members anywhere."""
    group = tx.session.get_one(SecurityGroup, group_id)
    members = (
        select(NetworkInterface.private_address)
        .join(InterfaceGroup, InterfaceGroup.interface_id == NetworkInterface.id)
        .where(InterfaceGroup.group_id == group_id)
        .order_by(NetworkInterface.id)
    )
    rules = select(SecurityGroupRule).where(SecurityGroupRule.group_id == group_id).order_by(SecurityGroupRule.id)
    return pb.SecurityGroup(
        vpc_id=group.vpc_id,
        rules=[_rule(rule) for rule in tx.session.scalars(rules)],
        members=list(tx.session.scalars(members)),
    )


def _rule(rule: SecurityGroupRule) -> pb.SecurityGroupRule:
    told = pb.SecurityGroupRule(
        id=rule.id, egress=rule.egress, protocol=rule.protocol, from_port=rule.from_port, to_port=rule.to_port
    )
    if rule.cidr_ipv4 is not None:
        told.cidr_ipv4 = rule.cidr_ipv4
    elif rule.cidr_ipv6 is not None:
        told.cidr_ipv6 = rule.cidr_ipv6
    elif rule.peer_group_id is not None:
        told.group_id = rule.peer_group_id
    return told


def of_instance(tx: Transaction, instance: Instance, region: str) -> dict[Key, Message]:
    """A machine with its volumes and interfaces, by kind and id."""
    volumes = tx.session.scalars(
        select(Volume).where(Volume.instance_id == instance.id).order_by(Volume.attach_time, Volume.id)
    ).all()
    volumes = sorted(volumes, key=lambda volume: volume.device_name != instance.root_device_name)
    interfaces = tx.session.scalars(
        select(NetworkInterface)
        .where(NetworkInterface.instance_id == instance.id, NetworkInterface.attachment_state != "detaching")
        .order_by(NetworkInterface.device_index)
    ).all()
    pictures: dict[Key, Message] = {}
    for volume in volumes:
        pictures[pb.KIND_VOLUME, volume.id] = of_volume(volume)
    groups: dict[str, str] = {}
    for interface in interfaces:
        mine = _groups(tx, interface.id)
        if interface.device_index == 0:
            groups = mine
        pictures[pb.KIND_INTERFACE, interface.id] = _interface(tx, interface, list(mine), region)
    pictures[pb.KIND_MACHINE, instance.id] = pb.Machine(
        power=pb.POWER_RUNNING if instance.state in _RUNNING_STATES else pb.POWER_STOPPED,
        start_count=instance.start_count,
        reboot_count=instance.reboot_count,
        force_stop=instance.force_stop,
        vcpus=instance.vcpus,
        memory=instance.memory,
        disks=[pb.MachineDisk(volume_id=volume.id, device_name=volume.device_name or "") for volume in volumes],
        interfaces=[
            pb.MachineInterface(interface_id=interface.id, device_index=interface.device_index or 0)
            for interface in interfaces
        ],
        metadata=_metadata(tx, instance, sorted(groups.values()), region),
        architecture=instance.architecture,
        boot_mode=instance.boot_mode,
    )
    return pictures


def of_volume(volume: Volume) -> pb.Volume:
    """A volume as its home host makes it."""
    return pb.Volume(
        size=volume.size * GIB,
        image_id=volume.image_id or "",
        volume_type=volume.volume_type,
        iops=volume.iops or 0,
        throughput=volume.throughput or 0,
    )


def region_of(tx: Transaction) -> str:
    """The name of the cloud's region, as kept in its database."""
    return tx.session.get_one(CloudFact, "region").value


def _groups(tx: Transaction, interface_id: str) -> dict[str, str]:
    query = (
        select(SecurityGroup.id, SecurityGroup.name)
        .join(InterfaceGroup, InterfaceGroup.group_id == SecurityGroup.id)
        .where(InterfaceGroup.interface_id == interface_id)
        .order_by(SecurityGroup.id)
    )
    return dict(tx.session.execute(query).all())


def _interface(tx: Transaction, interface: NetworkInterface, group_ids: list[str], region: str) -> pb.Interface:
    public = tx.session.execute(
        select(PublicAddress.address, PublicAddress.private_address)
        .where(PublicAddress.interface_id == interface.id)
        .order_by(PublicAddress.address)
    )
    held = tx.session.execute(
        select(InterfaceAddress.address, InterfaceAddress.ipv6)
        .where(InterfaceAddress.interface_id == interface.id, InterfaceAddress.primary.is_(False))
        .order_by(InterfaceAddress.address)
    ).all()
    return pb.Interface(
        vpc_id=interface.vpc_id,
        subnet_id=interface.subnet_id,
        mac_address=interface.mac_address,
        private_address=interface.private_address,
        secondary_addresses=[address for address, ipv6 in held if not ipv6],
        ipv6_addresses=[address for address, ipv6 in held if ipv6],
        public_addresses=[
            pb.PublicAddress(public_address=address, private_address=private or interface.private_address)
            for address, private in public
        ],
        security_group_ids=group_ids,
        source_dest_check=interface.source_dest_check,
        private_dns_name=private_name(interface.private_address, region),
        instance_id=interface.instance_id or "",
    )


def _metadata(tx: Transaction, instance: Instance, group_names: list[str], region: str) -> pb.Metadata:
    tags: dict[str, str] = {}
    if instance.metadata_tags:
        tags = dict(tx.session.execute(select(Tag.key, Tag.value).where(Tag.resource_id == instance.id)).all())
    keys = []
    if instance.public_key is not None:
        keys.append(pb.PublicKey(name=instance.key_name or "", openssh=instance.public_key))
    return pb.Metadata(
        instance_id=instance.id,
        account_id=instance.account_id,
        reservation_id=instance.reservation_id,
        image_id=instance.image_id,
        instance_type=instance.instance_type,
        launch_index=instance.launch_index,
        pending_time=int(instance.launch_time.timestamp()),
        region=region,
        availability_zone=instance.zone,
        hostname=private_name(instance.private_address, region),
        user_data=instance.user_data or b"",
        has_user_data=instance.user_data is not None,
        public_keys=keys,
        security_groups=group_names,
        options=pb.MetadataOptions(
            enabled=instance.metadata_enabled,
            tokens_required=instance.metadata_tokens_required,
            hop_limit=instance.metadata_hop_limit,
            instance_tags=instance.metadata_tags,
        ),
        tags=tags,
        partition="aws",
        domain="amazonaws.com",
    )
