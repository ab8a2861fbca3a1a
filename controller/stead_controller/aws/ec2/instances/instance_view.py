"""Instances as EC2 shows them, by reservation.

A page of a thousand must cost milliseconds: every value is written once, and values that are the same for many
instances are one dict, which all their answers share.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from stead_controller.aws.call import Result
from stead_controller.aws.ec2.instances.cpu_options_view import cpu_options_view
from stead_controller.aws.ec2.instances.instance_reservation_view import specification_view
from stead_controller.aws.ec2.instances.metadata_options_view import metadata_options_view
from stead_controller.aws.ec2.network.connection_tracking_view import connection_tracking_view
from stead_controller.aws.ec2.network.network_interface_view import ipv6_addresses_view
from stead_controller.aws.ec2.tags_view import tags_view
from stead_controller.catalog import boot_modes
from stead_controller.resources.instances.instance_states import STATE_CODES
from stead_controller.resources.instances.instances import (
    DescribedAddress,
    DescribedInstance,
    DescribedInterface,
    DescribedReservation,
    Row,
)

_STATES: Final = {name: {"Code": code, "Name": name} for name, code in STATE_CODES.items()}
# By whether detailed monitoring is enabled, and whether the instance is still being launched.
_MONITORING: Final = {
    (True, True): {"State": "pending"},
    (True, False): {"State": "enabled"},
    (False, True): {"State": "disabled"},
    (False, False): {"State": "disabled"},
}

# Members with the same value for every instance. Answers share these values, so they must not be changed. `Operator`
# and `NetworkPerformanceOptions`, which would be empty, are left out: each member costs clients time when they parse.
_ALIKE: Final[Mapping[str, Any]] = {
    "ProductCodes": [],
    "EnaSupport": True,
    "Hypervisor": "xen",
    "RootDeviceType": "ebs",
    "VirtualizationType": "hvm",
    "EnclaveOptions": {"Enabled": False},
    "PlatformDetails": "Linux/UNIX",
    "UsageOperation": "RunInstances",
}
_ANY_OPEN: Final = {"CapacityReservationPreference": "open"}
_HIBERNATION: Final = {True: {"Configured": True}, False: {"Configured": False}}
_MAINTENANCE: Final = {
    True: {"AutoRecovery": "default", "RebootMigration": "default"},
    False: {"AutoRecovery": "disabled", "RebootMigration": "default"},
}


def reservation_view(found: DescribedReservation) -> Result:
    """Show the instances of one launch."""
    return {
        "ReservationId": found.id,
        "OwnerId": found.account_id,
        "Groups": [],
        "Instances": [instance_view(instance) for instance in found.instances],
    }


def instance_view(found: DescribedInstance) -> Result:
    """Show an instance; a terminated one is no longer in any network."""
    row = found.row
    primary = found.interfaces[0] if found.interfaces else None
    interfaces = [_interface_view(interface) for interface in found.interfaces]
    shown = {
        **_ALIKE,
        "InstanceId": row.id,
        "ImageId": row.image_id,
        "State": _STATES[row.state],
        "StateTransitionReason": row.state_transition_reason,
        "KeyName": row.key_name,
        "AmiLaunchIndex": row.launch_index,
        "InstanceType": row.instance_type,
        "LaunchTime": row.launch_time,
        "Placement": _placement_view(found),
        "CapacityReservationId": row.capacity_reservation_id,
        "CapacityReservationSpecification": _reservations_view(row),
        "Monitoring": _MONITORING[row.monitoring, row.state == "pending"],
        "MaintenanceOptions": _MAINTENANCE[row.auto_recovery],
        "HibernationOptions": _HIBERNATION[row.hibernation],
        "Architecture": row.architecture,
        "BlockDeviceMappings": block_devices_view(found.volumes),
        "ClientToken": row.client_token,
        "EbsOptimized": row.ebs_optimized,
        "NetworkInterfaces": interfaces,
        "RootDeviceName": row.root_device_name,
        "SecurityGroups": interfaces[0]["Groups"] if interfaces else [],
        "SourceDestCheck": primary.row.source_dest_check if primary else None,
        "Tags": tags_view(found.tags) if found.tags else None,
        "IamInstanceProfile": found.profile and {"Arn": found.profile[0], "Id": found.profile[1]},
        "CpuOptions": cpu_options_view(row.vcpus, row.threads_per_core),
        "MetadataOptions": metadata_options_view(row),
        "PrivateDnsNameOptions": _name_options_view(row),
        "BootMode": row.boot_mode,
        "CurrentInstanceBootMode": boot_modes.CURRENT[row.boot_mode],
        "TpmSupport": "v2.0" if row.tpm else None,
        "UsageOperationUpdateTime": primary.row.attach_time if primary else row.launch_time,
        "PrivateDnsName": found.private_name,
        "PublicDnsName": found.public_name,
    }
    if row.state_reason_code:
        shown["StateReason"] = {"Code": row.state_reason_code, "Message": row.state_reason_message}
    if row.spot_request_id is not None:
        shown["InstanceLifecycle"] = "spot"
        shown["SpotInstanceRequestId"] = row.spot_request_id
    if row.state != "terminated":
        shown["PrivateIpAddress"] = row.private_address
        shown["PublicIpAddress"] = row.public_address
        shown["Ipv6Address"] = primary.ipv6_addresses[0] if primary and primary.ipv6_addresses else None
        shown["SubnetId"] = row.subnet_id
        shown["VpcId"] = row.vpc_id
    return shown


def _placement_view(found: DescribedInstance) -> Result:
    row = found.row
    shown = {
        "AvailabilityZone": row.zone,
        "AvailabilityZoneId": found.zone_id,
        "GroupName": row.placement_group_name,
        "Tenancy": row.tenancy,
    }
    if row.tenancy == "host":
        shown["HostId"] = row.dedicated_host_id
        shown["Affinity"] = row.host_affinity
    if row.placement_group_id is not None:
        shown["GroupId"] = row.placement_group_id
        shown["PartitionNumber"] = row.partition_number
    return shown


def _reservations_view(row: Row) -> Result:
    return _ANY_OPEN if row.reservation_preference == "open" else specification_view(row)


def block_devices_view(volumes: Sequence[Row]) -> list[Result]:
    """Show the volumes of an instance with their device names."""
    return [
        {
            "DeviceName": row.device_name,
            "Ebs": {
                "VolumeId": row.id,
                "Status": row.attachment_state,
                "AttachTime": row.attach_time,
                "DeleteOnTermination": row.delete_on_termination,
            },
        }
        for row in volumes
    ]


def groups_view(groups: Sequence[tuple[str, str]]) -> list[Result]:
    """Show security groups by their ids and names."""
    return [{"GroupId": group_id, "GroupName": name} for group_id, name in groups]


def _interface_view(found: DescribedInterface) -> Result:
    row = found.row
    addresses = [_address_view(address, primary=number == 0) for number, address in enumerate(found.addresses)]
    first = addresses[0] if addresses else None
    return {
        "NetworkInterfaceId": row.id,
        "OwnerId": row.account_id,
        "SubnetId": row.subnet_id,
        "VpcId": row.vpc_id,
        "Description": row.description,
        "MacAddress": row.mac_address,
        "PrivateDnsName": first and first["PrivateDnsName"],
        "PrivateIpAddress": row.private_address,
        "PrivateIpAddresses": addresses,
        "Association": first and first["Association"],
        "Attachment": {
            "AttachmentId": row.attachment_id,
            "AttachTime": row.attach_time,
            "DeleteOnTermination": row.delete_on_termination,
            "DeviceIndex": row.device_index,
            "Status": row.attachment_state,
            "NetworkCardIndex": 0,
        },
        "Groups": groups_view(found.groups),
        "Ipv6Addresses": ipv6_addresses_view(found.ipv6_addresses, has_primary=row.primary_ipv6),
        "SourceDestCheck": row.source_dest_check,
        "Status": row.status,
        "InterfaceType": row.interface_type,
        "ConnectionTrackingConfiguration": connection_tracking_view(row),
    }


def _address_view(found: DescribedAddress, *, primary: bool) -> Result:
    address, private_name, public_address, public_name, public_owner = found
    association = None
    if public_address is not None:
        association = {"PublicIp": public_address, "PublicDnsName": public_name, "IpOwnerId": public_owner}
    return {
        "PrivateIpAddress": address,
        "PrivateDnsName": private_name or None,
        "Primary": primary,
        "Association": association,
    }


def _name_options_view(row: Row) -> Result:
    return {
        "HostnameType": row.hostname_type,
        "EnableResourceNameDnsARecord": row.resource_name_a_record,
        "EnableResourceNameDnsAAAARecord": row.resource_name_aaaa_record,
    }
