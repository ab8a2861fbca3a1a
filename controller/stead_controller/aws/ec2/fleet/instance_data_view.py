"""The data of an instance as a launch template would have them."""

from base64 import b64encode
from typing import Any, Final

from stead_controller.aws.call import Result
from stead_controller.aws.ec2.instances.cpu_options_view import cpu_options_view
from stead_controller.aws.ec2.instances.instance_reservation_view import specification_view
from stead_controller.aws.ec2.instances.metadata_options_view import metadata_options_view
from stead_controller.aws.ec2.tags_view import tags_view
from stead_controller.resources.fleet.instance_parameters import LaunchedWith
from stead_controller.resources.instances.instances import DescribedInterface

_WITH_IOPS: Final = ("gp3", "io1", "io2")  # the types of which a request may say them
_SPOT: Final = {
    "MarketType": "spot",
    "SpotOptions": {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"},
}


def instance_data_view(found: LaunchedWith) -> Result:
    """Show what an instance would be launched with again."""
    row = found.instance
    metadata = metadata_options_view(row)
    return {
        "ImageId": row.image_id,
        "InstanceType": row.instance_type,
        "CpuOptions": cpu_options_view(row.vcpus, row.threads_per_core),
        "CreditSpecification": None if found.cpu_credits is None else {"CpuCredits": found.cpu_credits},
        "KeyName": row.key_name,
        "EbsOptimized": row.ebs_optimized,
        "Monitoring": {"Enabled": row.monitoring},
        "Placement": {
            "AvailabilityZone": row.zone,
            "Tenancy": row.tenancy,
            "HostId": row.dedicated_host_id if row.host_affinity == "host" else None,
            "Affinity": row.host_affinity if row.tenancy == "host" else None,
            "GroupName": row.placement_group_name or None,
            "PartitionNumber": row.partition_number,
        },
        "UserData": None if row.user_data is None else b64encode(row.user_data).decode("ascii"),
        "DisableApiTermination": row.disable_api_termination,
        "DisableApiStop": row.disable_api_stop,
        "InstanceInitiatedShutdownBehavior": row.shutdown_behavior,
        "IamInstanceProfile": None if found.profile_arn is None else {"Arn": found.profile_arn},
        "BlockDeviceMappings": [_device_view(volume) for volume in found.volumes],
        "NetworkInterfaces": [_interface_view(one, public=public) for one, public in found.interfaces],
        "TagSpecifications": [{"ResourceType": "instance", "Tags": tags_view(found.tags)}] if found.tags else None,
        "MetadataOptions": {name: value for name, value in metadata.items() if name != "State"},
        "PrivateDnsNameOptions": {
            "HostnameType": row.hostname_type,
            "EnableResourceNameDnsARecord": row.resource_name_a_record,
            "EnableResourceNameDnsAAAARecord": row.resource_name_aaaa_record,
        },
        "MaintenanceOptions": {"AutoRecovery": "default" if row.auto_recovery else "disabled"},
        "HibernationOptions": {"Configured": row.hibernation},
        "InstanceMarketOptions": None if row.spot_request_id is None else _SPOT,
        "EnclaveOptions": {"Enabled": False},
        "CapacityReservationSpecification": specification_view(row),
    }


def _device_view(volume: Any) -> Result:
    says_iops = volume.volume_type in _WITH_IOPS
    return {
        "DeviceName": volume.device_name,
        "Ebs": {
            "Encrypted": volume.encrypted,
            "KmsKeyId": volume.kms_key_id,
            "DeleteOnTermination": volume.delete_on_termination,
            "Iops": volume.iops if says_iops else None,
            "SnapshotId": volume.snapshot_id,
            "VolumeSize": volume.size,
            "VolumeType": volume.volume_type,
            "Throughput": volume.throughput if volume.volume_type == "gp3" else None,
        },
    }


def _interface_view(found: DescribedInterface, *, public: bool) -> Result:
    row = found.row
    return {
        "DeviceIndex": row.device_index,
        "NetworkCardIndex": 0,
        "InterfaceType": "interface",
        "SubnetId": row.subnet_id,
        "Description": row.description,
        "DeleteOnTermination": row.delete_on_termination,
        "AssociatePublicIpAddress": public,
        "Groups": [group_id for group_id, _ in found.groups],
        "PrivateIpAddresses": [
            {"Primary": number == 0, "PrivateIpAddress": one.address} for number, one in enumerate(found.addresses)
        ],
        "Ipv6Addresses": [{"Ipv6Address": address} for address in found.ipv6_addresses],
    }
