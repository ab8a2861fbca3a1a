"""Filters, pages, tags and digests as the Describe operations share them."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.aws import describe
from stead_controller.aws.call import Call
from stead_controller.errors import BadRequest, InvalidCombination, InvalidParameter, LimitExceeded, MissingParameter
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.filters import Filter

KNOWN = frozenset({"instance-id", "vpc-id"})


def call(account: str = "123456789012", page_key: bytes = b"page key") -> Call:
    caller = Caller(account, f"arn:aws:iam::{account}:root", account, "AKIAEXAMPLE")
    cloud = Cloud("eu-1", ("eu-1a",), "aws", "http://stead.example")
    nowhere: Any = None
    return Call(caller, nowhere, cloud, "R-1", datetime.now(UTC), "127.0.0.1", "test", page_key)


def test_filters_are_read() -> None:
    given_filters = [{"Name": "vpc-id", "Values": ["vpc-1", "vpc-2*"]}, {"Name": "tag:Owner", "Values": ["me"]}]
    expected = (Filter("vpc-id", ("vpc-1", "vpc-2*")), Filter("tag:Owner", ("me",)))
    assert describe.filters({"Filters": given_filters}, KNOWN) == expected
    assert describe.filters({"Filter": given_filters}, KNOWN) == expected
    assert describe.filters({}, KNOWN) == ()


@pytest.mark.parametrize("given_filter", [{"Name": "vpc-id", "Values": []}, {"Name": "vpc-id"}])
def test_a_filter_without_values_finds_nothing(given_filter: dict[str, Any]) -> None:
    (asked,) = describe.filters({"Filters": [given_filter]}, KNOWN)
    assert asked.values == ()
    assert not asked.matches("vpc-1")
    assert not asked.matches("")


@pytest.mark.parametrize(
    ("given_filter", "error"),
    [
        ({"Name": "vpc", "Values": ["x"]}, InvalidParameter),
        ({"Name": "VPC-ID", "Values": ["x"]}, InvalidParameter),
        ({"Name": "tag:", "Values": ["x"]}, InvalidParameter),
        ({"Name": "tags", "Values": ["x"]}, InvalidParameter),
        ({"Values": ["x"]}, MissingParameter),
        ({"Name": "vpc-id", "Values": ["x"] * 201}, BadRequest),
    ],
)
def test_wrong_filters_are_refused(given_filter: dict[str, Any], error: type[BadRequest]) -> None:
    with pytest.raises(error):
        describe.filters({"Filters": [given_filter]}, KNOWN)


def test_unknown_filters_are_named_and_untaggable_resources_have_no_tag_filters() -> None:
    with pytest.raises(InvalidParameter, match="The filter 'a b' is invalid"):
        describe.filters({"Filters": [{"Name": "a b", "Values": ["x"]}]}, KNOWN)
    with pytest.raises(InvalidParameter):
        describe.filters({"Filters": [{"Name": "tag:a", "Values": ["x"]}]}, KNOWN, tags=False)


def test_values_are_counted_over_all_filters() -> None:
    many = [{"Name": "vpc-id", "Values": ["x"] * 101}] * 2
    with pytest.raises(BadRequest) as caught:
        describe.filters({"Filters": many}, KNOWN)
    assert caught.value.code == "FilterLimitExceeded"


def pages(rows: list[str], limit: int) -> list[list[str]]:
    """All pages of some rows, as a client would fetch them."""
    seen, token = [], None
    while True:
        params: dict[str, Any] = {"MaxResults": limit, **({"NextToken": token} if token else {})}
        page = describe.page(call(), params, "DescribeThings")
        after = page.after[0] if page.after else ""
        found = [row for row in rows if row > after][: page.fetch]
        shown, token = page.cut(found, lambda row: (row,))
        seen.append(list(shown))
        if token is None:
            return seen


@given(st.lists(st.text(min_size=1, max_size=5), unique=True, max_size=40), st.integers(5, 50))
def test_pages_show_every_row_once(rows: list[str], limit: int) -> None:
    rows = sorted(rows)
    shown = pages(rows, limit)
    assert [row for page in shown for row in page] == rows
    assert all(len(page) <= limit for page in shown)
    assert len(shown) == max(1, -(-len(rows) // limit))


def test_without_max_results_everything_is_one_page() -> None:
    page = describe.page(call(), {}, "DescribeThings")
    assert (page.limit, page.fetch, page.after) == (None, None, None)
    assert page.cut(list(range(5000)), lambda row: (str(row),)) == (list(range(5000)), None)
    assert describe.page(call(), {}, "DescribeThings", default=100).fetch == 101


@pytest.mark.parametrize("limit", [4, 0, -1, 1001])
def test_max_results_has_limits(limit: int) -> None:
    with pytest.raises(InvalidParameter):
        describe.page(call(), {"MaxResults": limit}, "DescribeThings")


def test_ids_and_max_results_exclude_each_other() -> None:
    with pytest.raises(InvalidCombination):
        describe.page(call(), {"MaxResults": 5, "ThingIds": ["t-1"]}, "DescribeThings", ids="ThingIds")
    assert describe.page(call(), {"MaxResults": 5, "ThingIds": []}, "DescribeThings", ids="ThingIds").limit == 5


def token(**changes: Any) -> str:
    page = describe.page(call(**changes), {"MaxResults": 5}, "DescribeThings")
    _, made = page.cut([f"t-{number}" for number in range(6)], lambda row: (row, "x"))
    assert made is not None
    return made


def test_a_token_is_good_for_its_operation_and_account_only() -> None:
    page = describe.page(call(), {"NextToken": token()}, "DescribeThings")
    assert page.after == ("t-4", "x")
    for operation, other in (
        ("DescribeOthers", call()),
        ("DescribeThings", call("999999999999")),
        ("DescribeThings", call(page_key=b"another")),
    ):
        with pytest.raises(BadRequest) as caught:
            describe.page(other, {"NextToken": token()}, operation)
        assert caught.value.code == "InvalidNextToken"


def test_no_character_of_a_token_can_be_changed() -> None:
    good = token()
    raw = urlsafe_b64decode(good)
    forged = [urlsafe_b64encode(raw[:i] + bytes([raw[i] ^ 1]) + raw[i + 1 :]).decode() for i in range(len(raw))]
    forged += [good[:-4], good + "AAAA", urlsafe_b64encode(raw[16:]).decode(), "x", "é", "=", "A" * 5000]
    forged.append(urlsafe_b64encode(bytes(16) + json.dumps(["DescribeThings", "123456789012", "t"]).encode()).decode())
    for bad in forged:
        with pytest.raises(BadRequest):
            describe.page(call(), {"NextToken": bad}, "DescribeThings")


@given(st.text())
def test_any_token_is_refused(text: str) -> None:
    if text:
        with pytest.raises(BadRequest):
            describe.page(call(), {"NextToken": text}, "DescribeThings")


def test_tags_come_and_go_as_dicts() -> None:
    tags = describe.tags_to_dict([{"Key": "b", "Value": "2"}, {"Key": "a"}])
    assert tags == {"b": "2", "a": ""}
    assert describe.dict_to_tags(tags) == [{"Key": "a", "Value": ""}, {"Key": "b", "Value": "2"}]


@pytest.mark.parametrize(
    "tags",
    [
        [{"Value": "x"}],
        [{"Key": ""}],
        [{"Key": "k" * 129}],
        [{"Key": "aws:x"}],
        [{"Key": "AWS:x"}],
        [{"Key": "k", "Value": "v" * 257}],
    ],
)
def test_wrong_tags_are_refused(tags: list[dict[str, str]]) -> None:
    with pytest.raises(InvalidParameter):
        describe.tags_to_dict(tags)


def test_a_key_that_is_given_twice() -> None:
    with pytest.raises(InvalidParameter, match=r"Duplicate tag key 'k' specified\."):
        describe.tags_to_dict([{"Key": "k", "Value": "1"}, {"Key": "k", "Value": "2"}])


def test_a_resource_has_at_most_50_tags() -> None:
    assert len(describe.tags_to_dict([{"Key": f"k{number}"} for number in range(50)])) == 50
    with pytest.raises(LimitExceeded) as caught:
        describe.tags_to_dict([{"Key": f"k{number}"} for number in range(51)])
    assert caught.value.code == "TagLimitExceeded"


def test_tags_on_create_are_sorted_to_the_resources() -> None:
    params = {"TagSpecifications": [{"ResourceType": "volume", "Tags": [{"Key": "a", "Value": "1"}]}]}
    assert describe.tags_on_create(params, "instance", "volume") == {"instance": {}, "volume": {"a": "1"}}
    assert describe.tags_on_create({}, "instance") == {"instance": {}}
    with pytest.raises(InvalidParameter):
        describe.tags_on_create(params, "instance")
    with pytest.raises(InvalidParameter):
        describe.tags_on_create({"TagSpecifications": params["TagSpecifications"] * 2}, "volume")


def test_digests_are_of_what_is_asked() -> None:
    asked = {
        "ImageId": "ami-1",
        "MinCount": 1,
        "Tags": [{"Key": "a"}],
        "Key": b"x",
        "When": datetime(2026, 1, 2, tzinfo=UTC),
    }
    digest = describe.request_digest(asked)
    assert len(digest) == 64
    assert describe.request_digest({**asked, "ClientToken": "t", "DryRun": False}) == digest
    assert describe.request_digest(dict(reversed(asked.items()))) == digest
    for name in asked:
        assert describe.request_digest({**asked, name: "other"}) != digest
        assert describe.request_digest({key: value for key, value in asked.items() if key != name}) != digest
