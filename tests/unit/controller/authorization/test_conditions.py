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
    ("NotIpAddress", ["10.0.0.0/8", "192.0.2.0/24"], ["192.0.2.1"], False),
    ("NotIpAddress", ["10.0.0.0/8"], ["192.0.2.1"], True),
    ("ArnEquals", [ARN], [ARN], True),
    ("ArnLike", ["arn:aws:iam::*:role/*"], [ARN], True),
    ("ArnLike", ["arn:aws:iam:*:role/*"], [ARN], False),  # each part is compared by itself
    ("ArnLike", ["arn:aws:iam::111122223333:*"], [ARN], True),
    ("ArnLike", ["arn:aws:iam::*"], [ARN], True),
    ("ArnLike", ["*"], [ARN], True),
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
