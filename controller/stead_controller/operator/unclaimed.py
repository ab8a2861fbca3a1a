"""What hosts have and an older database does not know, as operators see it; the calls are in `hosts.py`."""

from stead_controller.resources.operators.unclaimed_resources import Unclaimed
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import operator_pb2 as pb


def message(found: Unclaimed) -> pb.UnclaimedSummary:
    """Show one resource."""
    shown = pb.UnclaimedSummary(
        host_id=found.host_id,
        kind=desired.Kind.Name(desired.Kind.ValueType(found.kind)).removeprefix("KIND_").lower(),
        id=found.id,
        since=int(found.since.timestamp()),
        part_of=found.part_of,
        account_id=found.account_id,
    )
    if found.resource is None:
        return shown
    match found.resource.WhichOneof("body"):
        case "machine":
            _show_machine(shown, found.resource.machine)
        case "interface":
            _show_interface(shown, found.resource.interface)
        case "volume":
            _show_volume(shown, found.resource.volume)
        case _:
            pass
    return shown


def _show_machine(shown: pb.UnclaimedSummary, machine: desired.Machine) -> None:
    shown.instance_type = machine.metadata.instance_type
    shown.image_id = machine.metadata.image_id
    shown.is_running = machine.power == desired.POWER_RUNNING
    shown.volume_ids.extend(disk.volume_id for disk in machine.disks if disk.volume_id)
    shown.interface_ids.extend(each.interface_id for each in machine.interfaces)
    shown.what = f"{shown.instance_type}, {'to run' if shown.is_running else 'stopped'}"


def _show_interface(shown: pb.UnclaimedSummary, interface: desired.Interface) -> None:
    own = (interface.private_address, *interface.secondary_addresses, *interface.ipv6_addresses)
    shown.addresses.extend(address for address in own if address)
    shown.addresses.extend(each.public_address for each in interface.public_addresses)
    shown.what = f"{', '.join(shown.addresses)} in {interface.subnet_id}"


def _show_volume(shown: pb.UnclaimedSummary, volume: desired.Volume) -> None:
    shown.size = volume.size
    place = f", at home on {volume.remote.home_host_id}" if volume.HasField("remote") else ""
    shown.what = f"{volume.volume_type}, {volume.size >> 30} GiB{', encrypted' if volume.encrypted else ''}{place}"
