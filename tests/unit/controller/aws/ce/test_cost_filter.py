"""Filter expressions of Cost Explorer."""

import json

import pytest

from stead_controller.aws.ce import cost_filter
from stead_controller.errors import InvalidParameter, Unsupported
from stead_controller.metering.cost_filter import from_json, keys_of, to_json

SERVICE = {"Dimensions": {"Key": "SERVICE", "Values": ["EC2 - Other", "x"]}}
TEAM = {"Tags": {"Key": "team", "Values": ["a"]}}
VALUES = {("DIMENSION", "SERVICE"): "EC2 - Other", ("TAG", "team"): "b", ("TAG", "none"): ""}


def holds(expression):
    return cost_filter.read(expression).holds(lambda kind, key: VALUES.get((kind, key), ""))


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        (SERVICE, True),
        (TEAM, False),
        ({"Not": TEAM}, True),
        ({"Not": {"Or": [TEAM, SERVICE]}}, False),
        ({"And": [SERVICE, TEAM]}, False),
        ({"Or": [TEAM, SERVICE]}, True),
        ({"Tags": {"Key": "none", "Values": [""]}}, True),
        ({"Tags": {"Key": "none", "MatchOptions": ["ABSENT"]}}, True),
        ({"Tags": {"Key": "team", "MatchOptions": ["ABSENT"]}}, False),
        ({"Tags": {"Key": "team", "Values": ["B"], "MatchOptions": ["EQUALS", "CASE_SENSITIVE"]}}, False),
        ({"CostCategories": {"Key": "c", "Values": ["v"]}}, False),
        ({"CostCategories": {"Key": "c", "MatchOptions": ["ABSENT"]}}, True),
    ],
)
def test_an_expression_holds_or_not(expression, found):
    assert holds(expression) is found


def nested(depth):
    found = SERVICE
    for _ in range(depth):
        found = {"Not": found}
    return found


@pytest.mark.parametrize(
    ("expression", "error", "words"),
    [
        ({}, InvalidParameter, "exactly one of"),
        (SERVICE | TEAM, InvalidParameter, "it has 2"),
        ({"And": [SERVICE]}, InvalidParameter, "at least 2"),
        ({"Or": []}, InvalidParameter, "at least 2"),
        ({"ProductAttributes": {"Key": "a", "Values": ["b"]}}, Unsupported, "not supported"),
        ({"Dimensions": {"Key": "COLOUR", "Values": ["a"]}}, InvalidParameter, "enum value set"),
        ({"Dimensions": {"Key": "PLATFORM", "Values": ["a"]}}, Unsupported, "PLATFORM is not supported"),
        ({"Dimensions": {"Values": ["a"]}}, InvalidParameter, "must have a Key"),
        ({"Dimensions": {"Key": "SERVICE", "Values": []}}, InvalidParameter, "must have values"),
        ({"Dimensions": {"Key": "SERVICE", "MatchOptions": ["ABSENT"]}}, InvalidParameter, "ABSENT is invalid here"),
        (
            {"Tags": {"Key": "a", "Values": ["b"], "MatchOptions": ["CONTAINS"]}},
            InvalidParameter,
            "CONTAINS is invalid",
        ),
        ({"Tags": {"Key": "a", "Values": ["b"], "MatchOptions": ["LIKE"]}}, InvalidParameter, "enum value set"),
        ({"Tags": {"Key": "a", "Values": ["b"], "MatchOptions": ["ABSENT"]}}, InvalidParameter, "ABSENT alone"),
        ({"Tags": {"Key": "a", "MatchOptions": ["ABSENT", "EQUALS"]}}, InvalidParameter, "ABSENT alone"),
        (nested(21), InvalidParameter, "20 times"),
    ],
)
def test_a_bad_expression_is_refused(expression, error, words):
    with pytest.raises(error, match=words):
        cost_filter.read(expression)


def test_expressions_are_nested_twenty_times_at_most():
    assert keys_of([cost_filter.read(nested(20))], "DIMENSION") == {"SERVICE"}
    assert keys_of([cost_filter.read({"And": [SERVICE, TEAM]})], "TAG") == {"team"}


def test_a_filter_is_stored_as_json():
    read = cost_filter.read({"And": [SERVICE, {"Not": {"Tags": {"Key": "team", "MatchOptions": ["ABSENT"]}}}]})
    assert from_json(json.loads(json.dumps(to_json(read)))) == read
