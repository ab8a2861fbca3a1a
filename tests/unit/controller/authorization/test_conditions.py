"""Each condition operator as it is documented, with several values, with none, and with IfExists and quantifiers."""

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest

from stead_controller.authorization.conditions import UnknownOperator, compile_condition, context_of

ARN = "arn:aws:iam::111122223333:role/team/r"
IPV6 = "2001:db8::1"

# The operator, the policy's values, the request's values (None: it has no such key), whether it holds.
TABLE = [
    ("StringEquals", ["a"], ["a"], True),
    ("StringEquals", ["a"], ["A"], False),
    ("StringEquals", ["a*"], ["ab"], False),
    ("StringEquals", ["a", "b"], ["b"], True),
    ("StringEquals", ["a"], None, False),
    ("StringEquals", ["${k, 'v'}"], ["v"], True),
    ("StringEquals", ["${k}"], [""], False),
    ("StringEqualsIfExists", ["a"], None, True),
    ("StringEqualsIfExists", ["a"], ["b"], False),
    ("StringNotEquals", ["a", "b"], ["b"], False),
    ("StringNotEquals", ["a", "b"], ["c"], True),
    ("StringNotEquals", ["a"], None, True),
    ("StringNotEquals", ["a"], ["a", "b"], False),
    ("StringEqualsIgnoreCase", ["aB"], ["Ab"], True),
    ("StringNotEqualsIgnoreCase", ["aB"], ["Ab"], False),
    ("StringLike", ["a*c?"], ["abbcd"], True),
    ("StringLike", ["a*c?"], ["abbc"], False),
    ("StringNotLike", ["a*"], ["b"], True),
    ("NumericEquals", ["5"], ["5.0"], True),
    ("NumericNotEquals", ["5"], ["6"], True),
    ("NumericLessThan", ["5"], ["4.9"], True),
    ("NumericLessThan", ["5"], ["5"], False),
    ("NumericLessThan", ["5"], ["many"], False),
    ("NumericLessThanEquals", ["5"], ["5"], True),
    ("NumericGreaterThan", ["5"], ["5"], False),
    ("NumericGreaterThanEquals", ["5"], ["5"], True),
    ("NumericGreaterThan", ["NaN"], ["5"], False),
    ("DateEquals", ["2026-01-01T00:00:00Z"], ["1767225600"], True),
    ("DateNotEquals", ["2026-01-01T00:00:00Z"], ["1767225601"], True),
    ("DateLessThan", ["2026-01-01T00:00:00Z"], ["2025-12-31T23:59:59Z"], True),
    ("DateLessThanEquals", ["2026-01-01"], ["2026-01-01T00:00:00Z"], True),
    ("DateGreaterThan", ["2026-01-01T00:00:00+01:00"], ["2025-12-31T23:30:00Z"], True),
    ("DateGreaterThanEquals", ["1767225600"], ["2026-01-01T00:00:00Z"], True),
    ("DateGreaterThan", ["yesterday"], ["2026-01-01T00:00:00Z"], False),
    ("DateLessThan", ["9223372036854775808"], ["2026-01-01T00:00:00Z"], False),
    ("DateLessThan", ["9223372036854775807"], ["2026-01-01T00:00:00Z"], True),
    ("Bool", ["true"], ["True"], True),
    ("Bool", ["false"], ["true"], False),
    ("Bool", ["yes"], ["yes"], False),
    ("Bool", ["${k, 'TRUE'}"], ["true"], True),
    ("Bool", ["${k, 'TRUE'}"], ["false"], False),
    ("Bool", ["${k}"], ["true"], False),
    ("Bool", ["true"], None, False),
    ("BoolIfExists", ["true"], None, True),
    ("BinaryEquals", ["QmFzZTY0"], ["QmFzZTY0"], True),
    ("BinaryEquals", ["QmFzZTY0"], ["QmFzZTY1"], False),
    ("BinaryEquals", ["no base64"], ["no base64"], False),
    ("IpAddress", ["10.0.0.0/8"], ["10.1.2.3"], True),
    ("IpAddress", ["10.0.0.0/8"], ["11.1.2.3"], False),
    ("IpAddress", ["10.1.2.3"], ["10.1.2.3"], True),
    ("IpAddress", ["2001:db8::/32"], [IPV6], True),
    ("IpAddress", ["10.0.0.0/8"], [IPV6], False),
    ("IpAddress", ["nowhere"], ["10.1.2.3"], False),
    ("IpAddress", ["0.0.0.0/0"], ["nowhere"], False),
    ("IpAddress", ["10.0.0.0/8"], ["::ffff:10.1.2.3"], True),
    ("IpAddress", ["10.0.0.0/8"], ["::ffff:11.1.2.3"], False),
    ("NotIpAddress", ["10.0.0.0/8", "192.0.2.0/24"], ["192.0.2.1"], False),
    ("NotIpAddress", ["10.0.0.0/8"], ["192.0.2.1"], True),
    ("ArnEquals", [ARN], [ARN], True),
    ("ArnLike", ["arn:aws:iam::*:role/*"], [ARN], True),
    ("ArnLike", ["arn:aws:iam:*:role/*"], [ARN], False),  # each part is compared by itself
    ("ArnLike", ["arn:aws:iam::111122223333:*"], [ARN], True),
    ("ArnLike", ["arn:aws:iam::*"], [ARN], True),
    ("ArnLike", ["arn:aws:iam::1111*"], [ARN], True),
    ("ArnLike", ["arn:aws:iam::role*"], [ARN], False),
    ("ArnLike", ["arn:aws:i*r"], [ARN], False),  # fewer parts, which do not end with *
    ("ArnLike", ["arn:aws:"], [ARN], False),
    ("ArnLike", [""], [ARN], False),
    ("ArnLike", ["arn:aws:iam::111122223333:role/team/${k, 'r'}"], [ARN], True),
    ("ArnLike", ["arn:aws:iam::111122223333:role/team/${k}"], [ARN], False),
    ("ArnLike", ["arn:aws:logs:*:*:log-group:*"], ["arn:aws:logs:us-east-1:111122223333:log-group:a:b"], True),
    ("ArnLike", ["*"], [ARN], True),
    ("ArnLike", ["arn:aws:iam"], [ARN], False),
    ("ArnLike", ["arn:aws:iam::11112222333?"], [ARN], False),
    ("ArnLike", ["*"], ["no arn"], False),
    ("ArnLike", ["*"], ["arn:aws"], False),
    ("ArnLike", ["*"], ["urn:aws:iam::111122223333:role/r"], False),
    ("ArnNotEquals", [ARN], [ARN + "2"], True),
    ("ArnNotLike", ["arn:aws:iam::*:role/*"], [ARN], False),
    ("Null", ["true"], None, True),
    ("Null", ["True"], None, True),
    ("Null", ["true"], ["a"], False),
    ("Null", ["false"], ["a"], True),
    ("Null", ["false"], None, False),
    ("ForAllValues:StringEquals", ["a", "b"], ["a", "b"], True),
    ("ForAllValues:StringEquals", ["a", "b"], ["a", "c"], False),
    ("ForAllValues:StringEquals", ["a"], None, True),
    ("ForAllValues:StringNotEquals", ["a"], ["b", "c"], True),
    ("ForAllValues:StringNotEquals", ["a"], ["a", "c"], False),
    ("ForAnyValue:StringEquals", ["a", "b"], ["c", "b"], True),
    ("ForAnyValue:StringEquals", ["a"], ["c"], False),
    ("ForAnyValue:StringEquals", ["a"], None, False),
    ("ForAnyValue:StringNotEquals", ["a"], ["a", "b"], True),
    ("ForAnyValue:StringLikeIfExists", ["a*"], None, True),
]


@pytest.mark.parametrize(("operator", "values", "given", "holds"), TABLE)
def test_operators(operator, values, given, holds):
    condition = compile_condition(operator, "aws:Key", values, variables=True)
    assert condition.holds({} if given is None else {"aws:key": tuple(given)}) == holds


def test_a_context_is_made_of_plain_values():
    moment = datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))
    values = {"A:b": True, "c": None, "d": [], "e": ["x", 5], "f": moment, "g": "", "h": False}
    given = {"a:b": ("true",), "e": ("x", "5"), "f": ("2026-01-01T00:00:00Z",), "g": ("",), "h": ("false",)}
    assert context_of(values) == given
    assert context_of({"t": moment.astimezone(UTC)})["t"] == ("2026-01-01T00:00:00Z",)


@pytest.mark.parametrize(
    ("operator", "value", "readable"),
    [
        ("DateLessThan", "2026-01-01", True),
        ("DateNotEquals", "2026-01-01T00:00:00.5+01:00", True),
        ("DateGreaterThanEqualsIfExists", "1767225600", True),
        ("DateEquals", "", False),
        ("ForAnyValue:DateLessThanEquals", "234-13", False),
        ("IpAddress", "10.0.0.0/33", False),
        ("IpAddress", "10.0.0.0/8", True),
        ("NotIpAddress", "10.0.0.256", False),
        ("NotIpAddress", "2001:db8::/32", True),
        ("NumericEquals", "many", True),  # only dates and addresses are asked
        ("StringEquals", "10.0.0.0/33", True),
    ],
)
def test_values_of_a_wrong_type_are_known(operator, value, readable):
    assert (
        compile_condition(
            operator, "aws:Key", ["1" if "Date" in operator else "::1", value], variables=True
        ).is_readable
        == readable
    )


@pytest.mark.parametrize(
    "operator",
    ["StringEqual", "IfExists", "", ":StringLike", "ForSome:StringLike", "NullIfExists", "ForAllValues:Null"],
)
def test_what_is_no_operator_is_refused(operator):
    with pytest.raises(UnknownOperator):
        compile_condition(operator, "aws:Key", ["true"], variables=True)


def test_a_date_without_a_zone_is_of_utc(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        condition = compile_condition("DateEquals", "aws:CurrentTime", ["2026-01-01T00:00:00"], variables=True)
        assert condition.holds({"aws:currenttime": ("2026-01-01T00:00:00Z",)})
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_condition_knows_the_keys_that_its_values_ask_for():
    for operator in ("StringLike", "StringEquals", "StringEqualsIgnoreCase", "ArnLike", "Bool"):
        condition = compile_condition(operator, "aws:Key", ["${aws:Other}", "${One}"], variables=True)
        assert condition.variables == {"aws:other", "one"}
        assert not compile_condition(operator, "aws:Key", ["${aws:Other}"], variables=False).variables


def holds(context, key, *values, operator="StringEquals"):
    return compile_condition(operator, key, list(values), variables=True).holds(context)


def test_a_tag_whose_key_differs_by_case_stands_in_for_no_other():
    """Keys of tags are compared whatever their case, as long as that leaves one; else exactly."""
    one = context_of({"aws:RequestTag/Team": "a"})
    assert holds(one, "aws:requestTag/TEAM", "a")
    for first, second in (("team", "TEAM"), ("TEAM", "team"), ("Team", "TEAM")):
        both = context_of({f"aws:RequestTag/{first}": "a", f"aws:RequestTag/{second}": "b", "aws:TagKeys": ["a"]})
        assert holds(both, f"aws:RequestTag/{first}", "a")
        assert not holds(both, f"aws:RequestTag/{first}", "b")
        assert holds(both, f"AWS:requesttag/{second}", "b")
        assert not holds(both, f"aws:RequestTag/{second}", "a")
        assert holds(both, "aws:TagKeys", "${aws:RequestTag/" + first + "}")
        assert not holds(both, "aws:TagKeys", "${aws:RequestTag/" + second + "}")
    three = context_of({f"aws:RequestTag/{key}": key for key in ("team", "Team", "TEAM")})
    assert all(holds(three, f"aws:RequestTag/{key}", key) for key in ("team", "Team", "TEAM"))
