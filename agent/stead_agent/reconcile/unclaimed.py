"""What an unclaimed resource has: the controller, whose database lacks it, must not assign that to others."""

from stead_agent.wanted import Key, Wanted
from stead_proto.v1 import desired_pb2, host_pb2


def what_it_has(wanted: Wanted, key: Key) -> host_pb2.Unclaimed | None:
    """Return the addresses, or the room, of an unclaimed resource; None for others."""
    resource = wanted.resources.get(key)
    if key not in wanted.unclaimed or resource is None:
        return None
    match resource.WhichOneof("body"):
        case "interface":
            return _of_interface(resource.interface)
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
