"""EC2's operations on images, and on key pairs."""

from collections.abc import Iterator
from typing import Final

from stead_controller.aws.authorization.rule import (
    Asked,
    Check,
    Part,
    Rule,
    Target,
    made,
    making,
    named,
    referred,
    rule,
)
from stead_controller.aws.authorization.rules.attributes import setting
from stead_controller.resources.images import image_tasks

_IMAGE = named("image", "ImageId")


def _import_task(asked: Asked) -> Iterator[Check]:
    """Check the task to cancel, whose id says of which type it is."""
    for task_id in asked.values("ImportTaskId"):
        kind = "import-snapshot-task" if task_id.startswith("import-snap-") else "import-image-task"
        yield from named(kind, "ImportTaskId")(asked)


def _new_key_pair(asked: Asked) -> Iterator[Check]:
    """Check a key pair to be created, whose ARN is known before."""
    for name in asked.values("KeyName"):
        kind = asked.params.get("KeyType", "rsa") if asked.operation == "CreateKeyPair" else None
        context = {"ec2:KeyPairName": name, "ec2:KeyPairType": kind}
        yield from making(asked, "key-pair", context, name=name)


def object_of(action: str, path: str, *, key: str, rest: str = "") -> Part:
    """Check the object in a bucket that a file is read from or written to; the exchange folder needs no check."""

    def part(asked: Asked) -> Iterator[Check]:
        for bucket in asked.values(f"{path}.S3Bucket"):
            if bucket != image_tasks.BUCKET:
                name = next(iter(asked.values(f"{path}.{key}")), "")
                yield Check(Target(f"arn:{asked.call.cloud.partition}:s3:::{bucket}/{name}{rest}"), action)

    return part


_IMPORTED = object_of("s3:GetObject", "DiskContainers.UserBucket", key="S3Key")
_EXPORTED = object_of("s3:PutObject", "S3ExportLocation", key="S3Prefix", rest="*")

RULES: Final[dict[str, Rule]] = {
    "CancelImageLaunchPermission": rule(_IMAGE),
    "CancelImportTask": rule(_import_task),
    "CopyImage": rule(made("image"), named("image", "SourceImageId"), made("snapshot")),
    "CreateImage": rule(made("image"), named("instance", "InstanceId"), made("snapshot")),
    "CreateKeyPair": rule(_new_key_pair),
    "DeleteKeyPair": rule(named("key-pair", "KeyName"), referred("key-pair", "id", "KeyPairId")),
    "DeregisterImage": rule(_IMAGE),
    "DisableImage": rule(_IMAGE),
    "DisableImageBlockPublicAccess": rule(),
    "DisableImageDeprecation": rule(_IMAGE),
    "DisableImageDeregistrationProtection": rule(_IMAGE),
    "EnableImage": rule(_IMAGE),
    "EnableImageBlockPublicAccess": rule(),
    "EnableImageDeprecation": rule(_IMAGE),
    "EnableImageDeregistrationProtection": rule(_IMAGE),
    "ExportImage": rule(made("export-image-task"), _IMAGE, _EXPORTED),
    "ImportImage": rule(made("import-image-task"), made("image"), made("snapshot"), _IMPORTED),
    "ImportKeyPair": rule(_new_key_pair),
    "ModifyImageAttribute": rule(setting(_IMAGE)),
    "RegisterImage": rule(made("image"), named("snapshot", "BlockDeviceMappings.Ebs.SnapshotId")),
    "ResetImageAttribute": rule(_IMAGE),
}
