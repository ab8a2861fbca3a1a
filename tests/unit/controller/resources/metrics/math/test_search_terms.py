"""Terms of a SEARCH: what they find, and what they are not."""

import pytest

from stead_controller.errors import InvalidParameter
from stead_controller.resources.metrics.math.search_terms import parse
from stead_controller.resources.metrics.measures import Metric

CPU = Metric("AWS/EC2", "CPUUtilization", (("InstanceId", "i-1"),))
NET = Metric("AWS/EC2", "NetworkIn", (("InstanceId", "i-2"),))
GROUP = Metric("AWS/EC2", "CPUUtilization", (("AutoScalingGroupName", "web"),))
OWN = Metric("My App", "request_count", (("Stage", "prod"), ("Path", "/a b")))
ALL = {"cpu": CPU, "net": NET, "group": GROUP, "own": OWN}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{AWS/EC2,InstanceId} CPUUtilization", {"cpu"}),
        ("{AWS/EC2,InstanceId}", {"cpu", "net"}),
        ('{AWS/EC2, InstanceId} MetricName="CPUUtilization"', {"cpu"}),
        ('{"My App",Path,Stage}', {"own"}),
        ("{AWS/EC2}", set()),
        ("{Other,InstanceId}", set()),
        ("CPUUtilization", {"cpu", "group"}),
        ("utilization", {"cpu", "group"}),
        ("cpu", {"cpu", "group"}),
        ('"CPU"', set()),
        ("network in", {"net"}),
        ("in network", {"net"}),
        ("request", {"own"}),
        ("MetricName=NetworkIn", {"net"}),
        ("Namespace=AWS/EC2 NOT cpu", {"net"}),
        ('Namespace="AWS"', set()),
        ('InstanceId="i-2"', {"net"}),
        ("cpu OR request", {"cpu", "group", "own"}),
        ("cpu AND web", {"group"}),
        ("cpu (web OR InstanceId)", {"cpu", "group"}),
        ("NOT cpu", {"net", "own"}),
        ('Path="/a b"', {"own"}),
        ("Stage=prod OR Stage=test", {"own"}),
    ],
)
def test_what_is_found(text: str, expected: set[str]) -> None:
    terms = parse(text)
    assert {name for name, metric in ALL.items() if terms.find(metric)} == expected


@pytest.mark.parametrize(
    "text", ["", "  ", "{}", "{a,,b}", "(a", "a)", "OR", "a OR", "NOT", '"a', "a=", "=a", "(" * 100]
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(InvalidParameter):
        parse(text)
