"""Each condition operator as it is documented, with several values, with none, and with IfExists and quantifiers."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from stead_controller.authorization.conditions import compile_condition, context_of

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
    ("Bool", ["true"], ["True"], True),
    ("Bool", ["false"], ["true"], False),
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
    ("ArnLike", ["*"], [ARN], True),
    ("ArnLike", ["arn:aws:iam"], [ARN], False),
    ("ArnLike", ["arn:aws:iam::11112222333?"], [ARN], False),
    ("ArnLike", ["*"], ["no arn"], False),
    ("ArnNotEquals", [ARN], [ARN + "2"], True),
    ("ArnNotLike", ["arn:aws:iam::*:role/*"], [ARN], False),
    ("Null", ["true"], None, True),
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
    values = {"A:b": True, "c": None, "d": [], "e": ["x", 5], "f": moment, "g": ""}
    assert context_of(values) == {"a:b": ("true",), "e": ("x", "5"), "f": ("2026-01-01T00:00:00Z",), "g": ("",)}
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
