"""The EBS direct APIs: every operation is on a snapshot, with EC2's ARN."""

from typing import Final

from stead_controller.aws.authorization.rule import Rule, made, named, rule

_SNAPSHOT = named("snapshot", "SnapshotId")

RULES: Final[dict[str, Rule]] = {
    "CompleteSnapshot": rule(_SNAPSHOT),
    "GetSnapshotBlock": rule(_SNAPSHOT),
    "ListChangedBlocks": rule(named("snapshot", "FirstSnapshotId", "SecondSnapshotId")),
    "ListSnapshotBlocks": rule(_SNAPSHOT),
    "PutSnapshotBlock": rule(_SNAPSHOT),
    "StartSnapshot": rule(made("snapshot", VolumeSize="VolumeSize"), named("snapshot", "ParentSnapshotId")),
}
