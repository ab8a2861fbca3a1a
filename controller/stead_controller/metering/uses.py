"""What each kind of resource uses, in AWS's names and units; pure.

Names: those of AWS's price lists and Cost and Usage Reports, without the prefix of the region.
"""

import re
from fractions import Fraction
from typing import Final

from stead_controller.metering.ledger import Use
from stead_proto.blocks import BLOCK_BYTES

_SECONDS_OF_HOUR: Final = 3600
_SECONDS_OF_MINUTE: Final = 60
_LEAST_SECONDS: Final = 60  # of each run of an instance, and of each Dedicated Host
_BOXES: Final = {"dedicated": "DedicatedUsage", "host": "HostBoxUsage"}
_TYPES: Final = {"gp2": ".gp2", "gp3": ".gp3", "io1": ".piops", "io2": ".io2", "st1": ".st1", "sc1": ".sc1"}
_FREE_IOPS: Final = {"gp3": 3000, "io1": 0, "io2": 0}
_FREE_THROUGHPUT: Final = 125  # MiB/s of gp3


_SNAPSHOT: Final = "EBS:SnapshotUsage"
ARCHIVED: Final = "EBS:SnapshotArchiveStorage"
"""What archived snapshots keep, each all of its blocks."""
RETRIEVED: Final = "EBS:SnapshotArchiveRetrieval"
"""What is restored from an archive."""
LEFT_EARLY: Final = "EBS:SnapshotArchiveEarlyDelete"
"""What an archive would have kept until its least time was over: counted in whole hours of a block."""
_BYTES_OF_GIB: Final = 1 << 30
_BLOCKS_OF_GIB: Final = _BYTES_OF_GIB // BLOCK_BYTES
_HOURS: Final = "Hrs"
_GB: Final = "GB"
NAT_BYTES: Final = "NatGateway-Bytes"
"""What passes NAT gateways."""
OUT: Final = "DataTransfer-Out-Bytes"
"""What leaves for the internet."""
REGIONAL: Final = "DataTransfer-Regional-Bytes"
"""What is sent and got between Availability Zones."""
TIER_1: Final = "Requests-Tier1"
"""Requests of S3 that write or list: https://docs.aws.amazon.com/AmazonS3/latest/userguide/aws-usage-report-understand.html."""
TIER_2: Final = "Requests-Tier2"
"""Requests of S3 that get something."""
OF_REQUESTS: Final = "Requests-"
KEPT: Final = "TimedStorage-ByteHrs"
"""What buckets keep: counted in whole hours of a byte, as AWS's usage reports have it."""
_REQUESTS: Final = "Requests"
_FREE_REQUESTS: Final = ("Delete", "Abort")
_GETTING_REQUESTS: Final = ("Get", "Head", "Select")
DIRECT_LIST: Final = "EBS:directAPI.snapshot.List"
DIRECT_GET: Final = "EBS:directAPI.snapshot.Get"
DIRECT_PUT: Final = "EBS:directAPI.snapshot.Put"
"""Calls of the EBS direct APIs: https://aws.amazon.com/ebs/pricing/; those that begin and end a snapshot are free."""
_BLOCKS: Final = "SnapshotAPIUnits"  # AWS's word for blocks of 512 KiB that are read or written
DIRECT_CALLS: Final = {
    "GetSnapshotBlock": DIRECT_GET,
    "ListChangedBlocks": DIRECT_LIST,
    "ListSnapshotBlocks": DIRECT_LIST,
    "PutSnapshotBlock": DIRECT_PUT,
}
"""What each operation of the EBS direct APIs counts as that is not free."""
_ALARMS: Final = "Alarms"
METRIC_ALARM: Final = "CW:AlarmMonitorUsage"
CLOSE_ALARM: Final = "CW:HighResAlarmMonitorUsage"
"""Of an alarm whose period is less than a minute."""
COMPOSITE_ALARM: Final = "CW:CompositeAlarmMonitorUsage"
METRIC: Final = "CW:MetricMonitorUsage"
"""A metric that is one's own or of detailed monitoring, for each hour in which it has data."""
METRIC_CALL: Final = "CW:Requests"
"""Requests of CloudWatch: https://aws.amazon.com/cloudwatch/pricing/ says which are not free."""
METRIC_READ: Final = "CW:GMD-Metrics"
"""Metrics that GetMetricData is asked for."""
OF_CLOUDWATCH: Final = "CW:"
_METRICS: Final = "Metrics"
_METRICS_OF_INSTANCE: Final = 7  # that AWS bills of detailed monitoring
METRIC_CALLS: Final = frozenset(
    {
        "DeleteDashboards",
        "GetDashboard",
        "GetMetricStatistics",
        "ListDashboards",
        "ListMetrics",
        "PutDashboard",
        "PutMetricData",
    }
)
"""The operations of CloudWatch that cost something by the call."""
_CPU_HOURS: Final = "vCPU-Hours"
IOPS_MONTH: Final = "IOPS-Mo"
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/apply_ri.html#ri-normalization-factor
_FACTORS: Final = {
    "nano": Fraction(1, 4),
    "micro": Fraction(1, 2),
    "small": Fraction(1),
    "medium": Fraction(2),
    "large": Fraction(4),
    "xlarge": Fraction(8),
}
_TIMES_XLARGE: Final = re.compile(r"([1-9][0-9]{0,3})xlarge")
_UNITS: Final = {
    "BoxUsage:": _HOURS,
    "SpotUsage:": _HOURS,
    "DedicatedUsage:": _HOURS,
    "HostBoxUsage:": _HOURS,
    "UnusedBox:": _HOURS,
    "HostUsage:": _HOURS,
    "CPUCredits:": _CPU_HOURS,
    "NatGateway-Hours": _HOURS,
    METRIC: _METRICS,
    METRIC_READ: _METRICS,
    METRIC_CALL: _REQUESTS,
    OF_CLOUDWATCH: _ALARMS,
    TIER_1: _REQUESTS,
    TIER_2: _REQUESTS,
    KEPT: "GB-Mo",
    NAT_BYTES: _GB,
    "DataTransfer-": _GB,
    "PublicIPv4:": _HOURS,
    _SNAPSHOT: "GB-Mo",
    ARCHIVED: "GB-Mo",
    RETRIEVED: _GB,
    LEFT_EARLY: "GB-Mo",
    DIRECT_LIST: _REQUESTS,
    DIRECT_GET: _BLOCKS,
    DIRECT_PUT: _BLOCKS,
    "EBS:VolumeUsage": "GB-Mo",
    "EBS:VolumeP-IOPS": IOPS_MONTH,
    "EBS:VolumeP-Throughput": "MiBps-Mo",
}
# What is used at moments: how much of what is counted is a unit of it.
_PARTS: Final = {
    NAT_BYTES: _BYTES_OF_GIB,
    "DataTransfer-": _BYTES_OF_GIB,
    OF_REQUESTS: 1,
    "EBS:directAPI.": 1,
    RETRIEVED: _BLOCKS_OF_GIB,
    METRIC_READ: 1,
    METRIC_CALL: 1,
    "CPUCredits:": 60 * 1000,  # thousandths of credits, of which each is a minute of a vCPU
}
UNITS: Final = tuple(dict.fromkeys(_UNITS.values()))
"""The units in which uses are measured."""
KINDS: Final = tuple(_UNITS)
"""How names of uses begin."""
OF_TYPES: Final = ("BoxUsage:", "SpotUsage:", "DedicatedUsage:", "HostBoxUsage:", "UnusedBox:")
"""Those of instances and of room reserved for them, which end with an instance type."""
OF_HOSTS: Final = "HostUsage:"
OF_CREDITS: Final = "CPUCredits:"
OF_FAMILIES: Final = (OF_HOSTS, OF_CREDITS)
"""Those that end with an instance family."""
NAMES: Final = frozenset(
    {
        "NatGateway-Hours",
        METRIC_ALARM,
        CLOSE_ALARM,
        COMPOSITE_ALARM,
        METRIC,
        METRIC_READ,
        METRIC_CALL,
        TIER_1,
        TIER_2,
        KEPT,
        NAT_BYTES,
        OUT,
        REGIONAL,
        "PublicIPv4:InUseAddress",
        "PublicIPv4:IdleAddress",
        _SNAPSHOT,
        ARCHIVED,
        RETRIEVED,
        LEFT_EARLY,
        *DIRECT_CALLS.values(),
        "EBS:VolumeUsage",
        *(f"EBS:VolumeUsage{suffix}" for suffix in _TYPES.values()),
        *(f"EBS:VolumeP-IOPS{_TYPES[name]}" for name in _FREE_IOPS),
        "EBS:VolumeP-Throughput.gp3",
    }
)
"""All names of uses but those that end with an instance type or family."""


def unit_of(usage: str) -> str:
    """Return the unit in which a use is priced: an hour, or a month's GiB, IOPS or MiB/s."""
    return next(unit for kind, unit in _UNITS.items() if usage.startswith(kind))


def units_of(usage: str, amount: Fraction | int, seconds_of_month: int) -> Fraction:
    """Convert an amount to that unit: it is a quantity times seconds, or of what is used at moments a number of these.

    Months differ in length. The quantity of a snapshot is in blocks, and what buckets keep in hours of a byte.
    """
    if usage == KEPT:
        return Fraction(amount * _SECONDS_OF_HOUR) / (_BYTES_OF_GIB * seconds_of_month)
    for kind, parts in _PARTS.items():
        if usage.startswith(kind):
            return Fraction(amount) / parts
    if usage == LEFT_EARLY:
        amount *= _SECONDS_OF_HOUR
    if usage in (_SNAPSHOT, ARCHIVED, LEFT_EARLY):
        seconds_of_month *= _BLOCKS_OF_GIB
    return Fraction(amount) / (_SECONDS_OF_HOUR if unit_of(usage) == _HOURS else seconds_of_month)


def normalization(usage: str) -> Fraction:
    """Return EC2's normalization factor of an instance's size; zero for what has none."""
    if not usage.startswith(OF_TYPES):
        return Fraction(0)
    size = usage.rpartition(".")[2]
    found = _TIMES_XLARGE.fullmatch(size)
    return int(found[1]) * _FACTORS["xlarge"] if found else _FACTORS.get(size, Fraction(0))


def of_instance(instance_type: str, tenancy: str, *, spot: bool, monitoring: bool = False) -> list[Use]:
    """Return what an instance uses while it runs: seconds of its type, one minute at least, and of its metrics."""
    box = "SpotUsage" if spot else _BOXES.get(tenancy, "BoxUsage")
    found = [Use(f"{box}:{instance_type}", "RunInstances", least=_LEAST_SECONDS)]
    return [*found, of_detailed_monitoring()] if monitoring else found


def of_unused_slots(instance_type: str, slots: int) -> list[Use]:
    """Return what a capacity reservation uses beside its instances: slots of its type in which none runs."""
    return [Use(f"UnusedBox:{instance_type}", "RunInstances", slots)] if slots else []


def of_dedicated_host(family: str) -> list[Use]:
    """Return what a Dedicated Host for an instance family uses while it is allocated, one minute at least."""
    return [Use(f"HostUsage:{family}", "RunInstances", least=_LEAST_SECONDS)]


def of_surplus_credits(family: str, thousandths: int) -> Use:
    """Return what an instance of a burstable family used of its host's vCPUs beyond what it had earned."""
    return Use(f"{OF_CREDITS}{family}", f"{family.upper()}CPUCredits", thousandths)


def of_bytes(usage: str, operation: str, count: int) -> Use:
    """Return what bytes use that have passed a border."""
    return Use(usage, operation, count)


def of_bytes_kept(byte_hours: int) -> Use:
    """Return what a bucket has kept: so many bytes for an hour, or half of them for two."""
    return Use(KEPT, "StandardStorage", byte_hours)


def of_request(operation: str) -> str:
    """Return what a request to S3 counts as, by its operation's name; empty for one that is free."""
    if operation.startswith(_FREE_REQUESTS):
        return ""
    return TIER_2 if operation.startswith(_GETTING_REQUESTS) else TIER_1


def of_metric_alarm(metrics: int, period: int) -> list[Use]:
    """Return what an alarm on so many metrics uses while it is there; its period is in seconds."""
    return [Use(METRIC_ALARM if period >= _SECONDS_OF_MINUTE else CLOSE_ALARM, "Unknown", metrics)]


def of_composite_alarm() -> list[Use]:
    """Return what an alarm on other alarms uses while it is there."""
    return [Use(COMPOSITE_ALARM, "Unknown")]


def of_detailed_monitoring() -> Use:
    """Return what an instance uses beside its type while it runs and is monitored in detail."""
    return Use(METRIC, "MetricStorage:AWS/EC2", _METRICS_OF_INSTANCE)


def of_own_metrics(count: int) -> Use:
    """Return what so many metrics of one's own use that have data in an hour: seconds, as of an instance's metrics."""
    return Use(METRIC, "MetricStorage", count * _SECONDS_OF_HOUR)


def of_metric_call(operation: str, metrics: int) -> Use | None:
    """Return what a call of CloudWatch uses that asks for so many metrics; None for one that is free."""
    if operation == "GetMetricData":
        return Use(METRIC_READ, operation, metrics)
    return Use(METRIC_CALL, operation) if operation in METRIC_CALLS else None


def of_volume(volume_type: str, size: int, iops: int | None, throughput: int | None) -> list[Use]:
    """Return what a volume uses: its GiB, and the IOPS and MiB/s that its type does not include."""
    suffix = _TYPES.get(volume_type, "")
    operation = f"CreateVolume-{volume_type.capitalize()}" if suffix else "CreateVolume"
    found = [Use(f"EBS:VolumeUsage{suffix}", operation, size)]
    more = (iops or 0) - _FREE_IOPS.get(volume_type, iops or 0)
    if more > 0:
        found.append(Use(f"EBS:VolumeP-IOPS{suffix}", operation, more))
    if volume_type == "gp3" and (throughput or 0) > _FREE_THROUGHPUT:
        found.append(Use("EBS:VolumeP-Throughput.gp3", operation, (throughput or 0) - _FREE_THROUGHPUT))
    return found


def of_nat_gateway() -> list[Use]:
    """Return what a NAT gateway uses while it is available."""
    return [Use("NatGateway-Hours", "NatGateway")]


def of_elastic_address(*, in_use: bool) -> list[Use]:
    """Return what an Elastic IP address uses, with an association or without."""
    return [Use("PublicIPv4:InUseAddress" if in_use else "PublicIPv4:IdleAddress", "AllocateAddressVPC")]


def of_automatic_address() -> list[Use]:
    """Return what an instance's automatic public address uses."""
    return [Use("PublicIPv4:InUseAddress", "RunInstances")]


def of_snapshot(blocks: int) -> list[Use]:
    """Return what a snapshot uses that holds so many blocks by itself."""
    return [Use(_SNAPSHOT, "CreateSnapshot", blocks)] if blocks else []


def of_archived_snapshot(blocks: int) -> list[Use]:
    """Return what an archived snapshot uses that has so many blocks, beside what it uses if it is restored."""
    return [Use(ARCHIVED, "CreateSnapshot", blocks)] if blocks else []


def of_retrieval(blocks: int) -> Use:
    """Return what it uses to restore an archived snapshot of so many blocks."""
    return Use(RETRIEVED, "CreateSnapshot", blocks)


def of_leaving_early(blocks: int, seconds: int) -> Use:
    """Return what so many archived blocks use that leave the archive so long before they may; rounded to hours.

    See https://docs.aws.amazon.com/ebs/latest/userguide/snapshot-archive-pricing.html.
    """
    return Use(LEFT_EARLY, "CreateSnapshot", blocks * ((seconds + _SECONDS_OF_HOUR // 2) // _SECONDS_OF_HOUR))
