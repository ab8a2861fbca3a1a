"""Cost filters of budgets by their old names."""

import pytest

from stead_controller.aws.budgets import cost_filters
from stead_controller.errors import InvalidParameter, Unsupported
from stead_controller.metering.cost_filter import Leaf

USE = {
    ("DIMENSION", "SERVICE"): "EC2 - Other",
    ("DIMENSION", "AZ"): "a",
    ("TAG", "team"): "web",
    ("TAG", "aws:by"): "me",
}


def holds(given):
    found = cost_filters.read(given)
    return found is None or found.holds(lambda kind, key: USE.get((kind, key), ""))


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, True),
        ({"Service": ["x", "EC2 - Other"]}, True),
        ({"Service": ["x"]}, False),
        ({"Service": ["EC2 - Other"], "AZ": ["b"]}, False),
        ({"Service": ["EC2 - Other"], "AZ": ["a"]}, True),
        ({"TagKeyValue": ["user:team$web"]}, True),
        ({"TagKeyValue": ["team$web"]}, True),
        ({"TagKeyValue": ["user:team$x", "user:team$web"]}, True),
        ({"TagKeyValue": ["user:team$web", "user:other$x"]}, False),
        ({"TagKeyValue": ["aws:by$me"]}, True),
        ({"CostCategory": ["c$v"]}, False),
    ],
    ids=str,
)
def test_all_filters_must_hold_and_one_value_of_each(given, found):
    assert holds(given) is found


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"Region": ["r"]},
        {"CostCategory": ["user:c$v"]},
        {
            "AZ": ["a", "b"],
            "InstanceType": ["t3.micro"],
            "LinkedAccount": ["1"],
            "Operation": ["o"],
            "RecordType": ["Usage"],
            "UsageType": ["u"],
            "TagKeyValue": ["aws:by$me", "user:team$a", "user:team$b"],
            "CostCategory": ["c$v", "c$w"],
        },
    ],
)
def test_filters_are_shown_as_they_were_given(given):
    assert cost_filters.show(cost_filters.read(given)) == given


def test_no_filter_is_none_and_one_stands_alone():
    assert cost_filters.read({}) is None
    assert cost_filters.read({"AZ": ["a"]}) == Leaf("DIMENSION", "AZ", frozenset({"a"}))


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"Service": []}, InvalidParameter, "must have values"),
        ({"Colour": ["x"]}, Unsupported, "Colour is not supported"),
        ({"TagKeyValue": ["team"]}, InvalidParameter, "key\\$value"),
        ({"TagKeyValue": ["user:$web"]}, InvalidParameter, "key\\$value"),
    ],
)
def test_bad_filters_are_refused(given, error, words):
    with pytest.raises(error, match=words):
        cost_filters.read(given)
