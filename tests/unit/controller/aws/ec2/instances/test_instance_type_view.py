"""What is answered of a type has each field of EC2's model that can be known here, and each filter finds what is answered."""

from collections.abc import Iterator
from typing import Any

import pytest

from stead_controller.aws.ec2.instances.instance_type_view import instance_type_view
from stead_controller.aws.protocol.models import load_service
from stead_controller.catalog.instance_types import ALL
from stead_controller.resources.instances import offered_types

_CARD = "NetworkInfo.NetworkCards"
# What no type has here, and what is not held and so not said.
LEFT_OUT = {
    "EbsInfo.EbsCards",
    "EbsInfo.MaximumEbsCards",
    "FpgaInfo",
    "InferenceAcceleratorInfo",
    "MediaAcceleratorInfo",
    "NetworkInfo.BandwidthWeightings",
    "NetworkInfo.EfaInfo",
    "NeuronInfo",
    "ProcessorInfo.SupportedFeatures",
    f"{_CARD}.AdditionalFlexibleNetworkInterfaces",
    f"{_CARD}.DefaultEnaQueueCountPerInterface",
    f"{_CARD}.MaximumEnaQueueCount",
    f"{_CARD}.MaximumEnaQueueCountPerInterface",
    "GpuInfo.Gpus.GpuPartitionSize",
    "GpuInfo.Gpus.LogicalGpuCount",
    "GpuInfo.Gpus.Workloads",
}
# Names of filters that are not the path of their field.
ELSEWHERE = {"supported-usage-class": "SupportedUsageClasses"}


def fields(shape: Any, path: str = "") -> Iterator[str]:
    """The paths of a model's values, lists passed over."""
    while shape.type_name == "list":
        shape = shape.member
    if shape.type_name != "structure":
        yield path
        return
    for name, member in shape.members.items():
        yield from fields(member, f"{path}.{name}" if path else name)


def values(shown: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The paths and values of an answer, lists passed over."""
    if isinstance(shown, dict):
        for name, value in shown.items():
            yield from values(value, f"{path}.{name}" if path else name)
    elif isinstance(shown, list):
        for value in shown:
            yield from values(value, path)
    elif shown is not None:
        yield path, shown


def test_every_field_is_there() -> None:
    model = load_service("ec2").operation("DescribeInstanceTypes").output_shape.members["InstanceTypes"].member
    shown = {path for kind in ALL.values() for path, _ in values(instance_type_view(kind))}
    lacking = set(fields(model)) - shown
    named = {path for path in lacking if any(path == one or path.startswith(f"{one}.") for one in LEFT_OUT)}
    assert lacking == named
    assert not [one for one in LEFT_OUT if any(path == one or path.startswith(f"{one}.") for path in shown)]


@pytest.mark.parametrize(
    ("name", "baseline", "peak"), [("t3.nano", 0.032, 5.0), ("m5.large", 0.75, 10.0), ("c6i.32xlarge", 50.0, 50.0)]
)
def test_the_bandwidth_is_what_hosts_hold_an_instance_to(name: str, baseline: float, peak: float) -> None:
    (card,) = instance_type_view(ALL[name])["NetworkInfo"]["NetworkCards"]
    assert (card["BaselineBandwidthInGbps"], card["PeakBandwidthInGbps"]) == (baseline, peak)


def test_what_all_volumes_may_do_together_is_shown_where_ec2_says_something() -> None:
    assert instance_type_view(ALL["m5.large"])["EbsInfo"]["EbsOptimizedInfo"] == {
        "BaselineBandwidthInMbps": 650,
        "BaselineThroughputInMBps": 81.25,
        "BaselineIops": 3600,
        "MaximumBandwidthInMbps": 4750,
        "MaximumThroughputInMBps": 593.75,
        "MaximumIops": 18_750,
    }
    assert "EbsOptimizedInfo" not in instance_type_view(ALL["t2.micro"])["EbsInfo"]


def _plain(path: str) -> str:
    return ".".join(part.replace("-", "").lower().removesuffix("s") for part in path.split("."))


def _texts(value: Any) -> set[str]:
    """How a filter may name a value: 81.25, and 2375.0 as 2375 too."""
    if isinstance(value, float):
        return {str(value), str(value).removesuffix(".0")}
    return {str(value).lower() if isinstance(value, bool) else str(value)}


@pytest.mark.parametrize("name", sorted(offered_types.FILTERS))
def test_a_filter_finds_what_is_answered(name: str) -> None:
    wanted = _plain(ELSEWHERE.get(name, name))
    for kind in ALL.values():
        shown = [_texts(value) for path, value in values(instance_type_view(kind)) if _plain(path) == wanted]
        assert set(offered_types.facts(kind)[name]) == set().union(*shown), kind.name
