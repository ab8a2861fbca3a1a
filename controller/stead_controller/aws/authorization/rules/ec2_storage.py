"""EC2's operations on volumes and snapshots."""

from collections.abc import Iterator
from typing import Final

from stead_controller.aws.authorization.rule import Asked, Check, Rule, Target, made, making, named, rule
from stead_controller.aws.authorization.rules.attributes import setting
from stead_controller.aws.authorization.rules.ec2_images import object_of
from stead_controller.resources.policy_keys import resource_facts


def _new_volume(asked: Asked) -> Iterator[Check]:
    """Check the volume of CreateVolume, which is also encrypted if its snapshot or the account's default says so."""
    params = asked.params
    snapshot_id = params.get("SnapshotId")
    yield from making(
        asked,
        "volume",
        {
            "ec2:AvailabilityZone": params.get("AvailabilityZone"),
            "ec2:Encrypted": resource_facts.is_encrypted(
                asked.call.tx, asked.call.caller, bool(params.get("Encrypted")), snapshot_id
            ),
            "ec2:ParentSnapshot": asked.arn("snapshot", snapshot_id) if snapshot_id else None,
            "ec2:VolumeIops": params.get("Iops"),
            "ec2:VolumeSize": params.get("Size"),
            "ec2:VolumeThroughput": params.get("Throughput"),
            "ec2:VolumeType": params.get("VolumeType", "gp2"),
        },
    )


def _new_snapshots(asked: Asked) -> Iterator[Check]:
    """Check the snapshots that CreateSnapshots makes of the volumes of an instance."""
    yield from making(asked, "snapshot", {})
    specification = asked.params.get("InstanceSpecification", {})
    instance_id = specification.get("InstanceId")
    if not instance_id:
        return
    excluded = set(specification.get("ExcludeDataVolumeIds", ()))
    for volume_id in resource_facts.volumes_of(asked.call.tx, asked.call.caller, instance_id):
        if volume_id not in excluded:
            yield Check(Target(asked.arn("volume", volume_id), "volume", volume_id))


_VOLUME = named("volume", "VolumeId")
_SNAPSHOT = named("snapshot", "SnapshotId")
_IMPORTED = object_of("s3:GetObject", "DiskContainer.UserBucket", key="S3Key")

RULES: Final[dict[str, Rule]] = {
    "AttachVolume": rule(named("instance", "InstanceId"), _VOLUME),
    "CopySnapshot": rule(made("snapshot"), named("snapshot", "SourceSnapshotId")),
    "CreateSnapshot": rule(made("snapshot"), _VOLUME),
    "CreateSnapshots": rule(_new_snapshots, named("instance", "InstanceSpecification.InstanceId")),
    "CreateVolume": rule(_new_volume, _SNAPSHOT),
    "DeleteSnapshot": rule(_SNAPSHOT),
    "DeleteVolume": rule(_VOLUME),
    "DetachVolume": rule(named("instance", "InstanceId"), _VOLUME),
    "DisableEbsEncryptionByDefault": rule(),
    "DisableSnapshotBlockPublicAccess": rule(),
    "EnableEbsEncryptionByDefault": rule(),
    "EnableSnapshotBlockPublicAccess": rule(),
    "EnableVolumeIO": rule(_VOLUME),
    "ImportSnapshot": rule(made("import-snapshot-task"), made("snapshot"), _IMPORTED),
    "ModifyEbsDefaultKmsKeyId": rule(),
    "ModifySnapshotAttribute": rule(setting(_SNAPSHOT)),
    "ModifySnapshotTier": rule(_SNAPSHOT),
    "ModifyVolume": rule(_VOLUME),
    "ModifyVolumeAttribute": rule(setting(_VOLUME)),
    "ResetEbsDefaultKmsKeyId": rule(),
    "ResetSnapshotAttribute": rule(_SNAPSHOT),
    "RestoreSnapshotTier": rule(_SNAPSHOT),
}
