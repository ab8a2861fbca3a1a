"""What an unclaimed resource has: the controller, whose database lacks it, must not assign that to others.

So that the controller can adopt it, it is also said whole: machines, interfaces, volumes, and VPCs with
their parts. Keys and credentials are not, except those sealed by the controller itself.
"""

from typing import Final, Literal

from stead_agent.wanted import Key, Wanted
from stead_proto import limits
from stead_proto.v1 import desired_pb2, host_pb2

_ADOPTABLE: Final = frozenset(
    {
        "endpoint_interface",
        "flow_log",
        "interface",
        "machine",
        "nat_gateway",
        "network_acl",
        "peering",
        "route_table",
        "security_group",
        "subnet",
        "volume",
        "vpc",
        "vpc_endpoint",
    }
)
_CREDENTIALS: Final[tuple[Literal["access_key_id", "secret_access_key", "session_token", "without_token"], ...]] = (
    "access_key_id",
    "secret_access_key",
    "session_token",
    "without_token",
)


def what_it_has(wanted: Wanted, key: Key) -> host_pb2.Unclaimed | None:
    """Return the addresses, or the room, of an unclaimed resource, and itself; None for others."""
    resource = wanted.resources.get(key)
    if key not in wanted.unclaimed or resource is None:
        return None
    has = _what(resource)
    if resource.WhichOneof("body") in _ADOPTABLE:
        has.resource.CopyFrom(without_secrets(resource))
        for group_id in resource.interface.security_group_ids:
            group = wanted.resources.get(Key(desired_pb2.KIND_SECURITY_GROUP, group_id))
            if group is not None:
                has.security_groups.add().CopyFrom(group)
    if has.ByteSize() > limits.UNCLAIMED_BYTES:
        has.ClearField("security_groups")
    if has.ByteSize() > limits.UNCLAIMED_BYTES:
        has.ClearField("resource")
    return has


def without_secrets(resource: desired_pb2.Resource) -> desired_pb2.Resource:
    """Return a resource without keys that can be used and without what gives a guest rights."""
    bare = desired_pb2.Resource()
    bare.CopyFrom(resource)
    match bare.WhichOneof("body"):
        case "volume":
            bare.volume.ClearField("encryption_key")
        case "machine":
            if bare.machine.HasField("tpm"):
                bare.machine.tpm.ClearField("encryption_key")
            if bare.machine.metadata.HasField("role"):
                for secret in _CREDENTIALS:
                    bare.machine.metadata.role.ClearField(secret)
            bare.machine.metadata.ClearField("identity")
            if bare.machine.metadata.HasField("identity_credentials"):
                updated = bare.machine.metadata.identity_credentials.updated
                bare.machine.metadata.identity_credentials.CopyFrom(desired_pb2.IdentityCredentials(updated=updated))
        case _:
            pass
    return bare


def _what(resource: desired_pb2.Resource) -> host_pb2.Unclaimed:
    match resource.WhichOneof("body"):
        case "interface":
            return _of_interface(resource.interface)
        case "mapping":
            return _of_mapping(resource.mapping)
        case "machine" if resource.machine.power == desired_pb2.POWER_RUNNING:
            stores = sum(disk.instance_store.size for disk in resource.machine.disks)
            return host_pb2.Unclaimed(vcpus=resource.machine.vcpus, memory=resource.machine.memory, disk=stores)
        case "volume" if not resource.volume.HasField("remote"):
            return host_pb2.Unclaimed(disk=resource.volume.size, pool=resource.volume.pool)
        case _:
            return host_pb2.Unclaimed()


def _of_interface(interface: desired_pb2.Interface) -> host_pb2.Unclaimed:
    ours = (interface.private_address, *interface.secondary_addresses, *interface.ipv6_addresses)
    return host_pb2.Unclaimed(
        subnet_id=interface.subnet_id,
        mac_address=interface.mac_address,
        private_addresses=[address for address in ours if address],
        public_addresses=[each.public_address for each in interface.public_addresses],
    )


def _of_mapping(mapping: desired_pb2.Mapping) -> host_pb2.Unclaimed:
    """An interface of any host of the VPC: the controller may know this host before it knows that one."""
    return host_pb2.Unclaimed(
        subnet_id=mapping.subnet_id,
        mac_address=mapping.mac_address,
        private_addresses=[address for address in mapping.addresses if address],
    )
