"""The words of FOCUS for our units, services and uses: bills and exports have the same ones.

See https://focus.finops.org/focus-specification/.
"""

from typing import Final

# By the names of our units. A quantity that lasts has a hyphen, `MiBps-Mo` is so many MiB per second for a month.
UNITS: Final = {
    "Hrs": "Hours",
    "GB-Mo": "GiB-Months",
    "IOPS-Mo": "IOPS-Months",
    "MiBps-Mo": "MiB-Months/Second",
    "vCPU-Hours": "vCPU-Hours",
    "GB": "GiB",
    "Alarms": "Alarm-Months",
    "Requests": "Requests",
    "Metrics": "Metrics",
    "SnapshotAPIUnits": "Blocks",
}
# Category and subcategory of a service, by its name: each service has one, so volumes are of compute too.
CATEGORIES: Final = {
    "Amazon Elastic Compute Cloud": ("Compute", "Virtual Machines"),
    "Amazon Simple Storage Service": ("Storage", "Object Storage"),
    "AmazonCloudWatch": ("Management and Governance", "Observability"),
    "Amazon Virtual Private Cloud": ("Networking", "Network Infrastructure"),
}
# What a use is of and what it measures, by how its name begins.
METERS: Final = {
    "BoxUsage:": ("Instance", "Instance Hours"),
    "SpotUsage:": ("Instance", "Spot Instance Hours"),
    "DedicatedUsage:": ("Instance", "Dedicated Instance Hours"),
    "HostBoxUsage:": ("Instance", "Instance Hours on a Dedicated Host"),
    "UnusedBox:": ("Capacity Reservation", "Unused Capacity Hours"),
    "HostUsage:": ("Dedicated Host", "Dedicated Host Hours"),
    "CPUCredits:": ("Instance", "Surplus CPU Credits"),
    "EBS:VolumeUsage": ("Volume", "Volume Storage"),
    "EBS:VolumeP-IOPS": ("Volume", "Volume IOPS"),
    "EBS:VolumeP-Throughput": ("Volume", "Volume Throughput"),
    "EBS:SnapshotUsage": ("Snapshot", "Snapshot Storage"),
    "EBS:SnapshotArchiveStorage": ("Snapshot", "Archived Snapshot Storage"),
    "EBS:SnapshotArchiveRetrieval": ("Snapshot", "Archived Snapshot Retrieval"),
    "EBS:SnapshotArchiveEarlyDelete": ("Snapshot", "Early Deletion of Archived Snapshots"),
    "EBS:directAPI.": ("Snapshot", "Calls of the EBS direct APIs"),
    "CW:MetricMonitorUsage": ("Metric", "Metrics"),
    "CW:GMD-Metrics": ("Metric", "Metrics requested"),
    "CW:Requests": ("Metric", "Requests of CloudWatch"),
    "CW:": ("Alarm", "Alarms"),
    "Requests-Tier1": ("Bucket", "Requests that write or list"),
    "Requests-Tier2": ("Bucket", "Requests that get"),
    "TimedStorage-": ("Bucket", "Object Storage"),
    "NatGateway-Bytes": ("NAT Gateway", "NAT Gateway Data Processed"),
    "DataTransfer-Out-Bytes": ("Data Transfer", "Data Transfer to the Internet"),
    "DataTransfer-Regional-Bytes": ("Data Transfer", "Data Transfer between Availability Zones"),
    "NatGateway-Hours": ("NAT Gateway", "NAT Gateway Hours"),
    "PublicIPv4:": ("Public IPv4 Address", "Public IPv4 Address Hours"),
}
