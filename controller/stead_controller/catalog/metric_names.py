"""What hosts measure, in CloudWatch's words: names, units and namespaces of EC2's, EBS's and NAT gateways' metrics.

Sources: "CloudWatch metrics that are available for your instances" of the EC2 user guide, "Amazon CloudWatch metrics
for Amazon EBS" of the EBS user guide, "Monitor NAT gateways with Amazon CloudWatch" of the VPC user guide.
"""

from typing import Final

from stead_proto.v1 import host_pb2 as pb

EC2: Final = "AWS/EC2"
EBS: Final = "AWS/EBS"
GROUP: Final = "AutoScalingGroupName"
INSTANCE: Final = "InstanceId"
NAT: Final = "AWS/NATGateway"
NAT_GATEWAY: Final = "NatGatewayId"
VOLUME: Final = "VolumeId"

OF_INSTANCES: Final[dict[int, tuple[str, str]]] = {
    pb.METRIC_PROCESSORS: ("CPUUtilization", "Percent"),
    pb.METRIC_RECEIVED_BYTES: ("NetworkIn", "Bytes"),
    pb.METRIC_SENT_BYTES: ("NetworkOut", "Bytes"),
    pb.METRIC_RECEIVED_PACKETS: ("NetworkPacketsIn", "Count"),
    pb.METRIC_SENT_PACKETS: ("NetworkPacketsOut", "Count"),
    pb.METRIC_STORE_READ_BYTES: ("DiskReadBytes", "Bytes"),
    pb.METRIC_STORE_WRITTEN_BYTES: ("DiskWriteBytes", "Bytes"),
    pb.METRIC_STORE_READS: ("DiskReadOps", "Count"),
    pb.METRIC_STORE_WRITES: ("DiskWriteOps", "Count"),
    pb.METRIC_READ_BYTES: ("EBSReadBytes", "Bytes"),
    pb.METRIC_WRITTEN_BYTES: ("EBSWriteBytes", "Bytes"),
    pb.METRIC_READS: ("EBSReadOps", "Count"),
    pb.METRIC_WRITES: ("EBSWriteOps", "Count"),
    pb.METRIC_CREDITS_SPENT: ("CPUCreditUsage", "Count"),
    pb.METRIC_CREDITS: ("CPUCreditBalance", "Count"),
    pb.METRIC_SURPLUS_CREDITS: ("CPUSurplusCreditBalance", "Count"),
    pb.METRIC_SURPLUS_CREDITS_CHARGED: ("CPUSurplusCreditsCharged", "Count"),
    pb.METRIC_VOLUMES_BYTE_BALANCE: ("EBSByteBalance%", "Percent"),
    pb.METRIC_VOLUMES_OPERATION_BALANCE: ("EBSIOBalance%", "Percent"),
    pb.METRIC_METADATA_WITHOUT_TOKEN: ("MetadataNoToken", "Count"),
    pb.METRIC_METADATA_REFUSED: ("MetadataNoTokenRejected", "Count"),
}
"""Name and unit of what is measured of a machine."""

OF_VOLUMES: Final[dict[int, tuple[str, str]]] = {
    pb.METRIC_READ_BYTES: ("VolumeReadBytes", "Bytes"),
    pb.METRIC_WRITTEN_BYTES: ("VolumeWriteBytes", "Bytes"),
    pb.METRIC_READS: ("VolumeReadOps", "Count"),
    pb.METRIC_WRITES: ("VolumeWriteOps", "Count"),
    pb.METRIC_READ_SECONDS: ("VolumeTotalReadTime", "Seconds"),
    pb.METRIC_WRITE_SECONDS: ("VolumeTotalWriteTime", "Seconds"),
    pb.METRIC_QUEUE_LENGTH: ("VolumeQueueLength", "Count"),
}
"""Name and unit of what is measured of a volume that is attached to a running machine."""

OF_NAT_GATEWAYS: Final[dict[int, tuple[str, str]]] = {
    pb.METRIC_GATEWAY_FLOWS: ("ActiveConnectionCount", "Count"),
    pb.METRIC_FROM_SOURCE_BYTES: ("BytesInFromSource", "Bytes"),
    pb.METRIC_FROM_SOURCE_PACKETS: ("PacketsInFromSource", "Count"),
    pb.METRIC_TO_DESTINATION_BYTES: ("BytesOutToDestination", "Bytes"),
    pb.METRIC_TO_DESTINATION_PACKETS: ("PacketsOutToDestination", "Count"),
    pb.METRIC_FROM_DESTINATION_BYTES: ("BytesInFromDestination", "Bytes"),
    pb.METRIC_FROM_DESTINATION_PACKETS: ("PacketsInFromDestination", "Count"),
    pb.METRIC_TO_SOURCE_BYTES: ("BytesOutToSource", "Bytes"),
    pb.METRIC_TO_SOURCE_PACKETS: ("PacketsOutToSource", "Count"),
    pb.METRIC_FLOWS_ATTEMPTED: ("ConnectionAttemptCount", "Count"),
    pb.METRIC_FLOWS_ESTABLISHED: ("ConnectionEstablishedCount", "Count"),
    pb.METRIC_PACKETS_DROPPED: ("PacketsDropCount", "Count"),
    pb.METRIC_FLOWS_WITHOUT_PORT: ("ErrorPortAllocation", "Count"),
}
"""Name and unit of what is measured of a NAT gateway."""

STATUS_CHECKS: Final = (
    "StatusCheckFailed_Instance",
    "StatusCheckFailed_System",
    "StatusCheckFailed_AttachedEBS",
)
ANY_STATUS_CHECK: Final = "StatusCheckFailed"
