"""Filter policies: which messages they let through, and what is none."""

import json

import pytest

from stead_controller.errors import InvalidParameter
from stead_controller.resources.notifications import filter_policies
from stead_controller.resources.notifications.filter_policies import ATTRIBUTES, BODY
from stead_controller.resources.notifications.message_attributes import Attribute

TEXT, OTHER = Attribute("String", "rugby"), Attribute("String", "Baseball")
BOTH = Attribute("String.Array", '["rugby", "Baseball", 7, true, null]')
NUMBER, OWN = Attribute("Number", "301.50"), Attribute("Number.float", "7")
BYTES = Attribute("Binary", None, b"rugby")
NONE = Attribute("String.Array", "[]")
HUGE = Attribute("Number", "1e9999999999999999999999")


def lets(wanted, attribute):
    """Whether a policy with this condition lets a message with an attribute, or without any, through."""
    policy = json.dumps({"a": [wanted] if not isinstance(wanted, list) else wanted})
    filter_policies.check(policy, ATTRIBUTES)
    given = {"other": TEXT} if attribute is None else {"a": attribute, "other": TEXT}
    return filter_policies.accepts(policy, ATTRIBUTES, "not JSON", given)


@pytest.mark.parametrize(
    ("wanted", "accepted", "refused"),
    [
        ("rugby", [TEXT, BOTH], [OTHER, NUMBER, BYTES, NONE, None]),
        (["rugby", "Baseball"], [TEXT, OTHER, BOTH], [NUMBER, None]),
        (301.5, [NUMBER], [TEXT, BOTH, OWN, HUGE, None]),
        (7, [OWN, BOTH], [NUMBER]),
        (True, [BOTH], [TEXT, OWN, None]),
        (None, [BOTH], [TEXT, None]),
        ({"prefix": "rug"}, [TEXT, BOTH], [OTHER, NUMBER, None]),
        ({"suffix": "ball"}, [OTHER, BOTH], [TEXT, NUMBER]),
        ({"equals-ignore-case": "bASEBALL"}, [OTHER, BOTH], [TEXT, NUMBER]),
        ({"anything-but": ["rugby", "tennis"]}, [OTHER, BOTH, NUMBER], [TEXT, NONE, None]),
        ({"anything-but": "rugby"}, [OTHER, BOTH], [TEXT]),
        ({"anything-but": {"prefix": "rug"}}, [OTHER, BOTH], [TEXT]),
        ({"anything-but": {"suffix": "by"}}, [OTHER], [TEXT]),
        ({"anything-but": [7, 301.5]}, [TEXT, BOTH], [NUMBER, OWN]),
        ({"exists": True}, [TEXT, BOTH, NUMBER, NONE], [BYTES, None]),
        ({"exists": False}, [BYTES, None], [TEXT, NUMBER]),
        ([{"anything-but": "rugby"}, {"exists": False}], [OTHER, None], [TEXT]),
        ({"numeric": ["=", 301.5]}, [NUMBER], [OWN, TEXT, None]),
        ({"numeric": [">", 7]}, [NUMBER], [OWN, HUGE]),
        ({"numeric": [">=", 7]}, [NUMBER, OWN, BOTH], []),
        ({"numeric": ["<", 301.5]}, [OWN], [NUMBER]),
        ({"numeric": ["<=", 301.5]}, [OWN, NUMBER], [TEXT]),
        ({"numeric": [">", 0, "<=", 150]}, [OWN, BOTH], [NUMBER]),
        ({"numeric": [">=", 8, "<", 302]}, [NUMBER], [OWN]),
        ({"cidr": "10.0.0.0/24"}, [Attribute("String", "10.0.0.255")], [Attribute("String", "10.0.1.0"), TEXT, NUMBER]),
        ({"cidr": "0.0.0.0/8"}, [Attribute("String", "0.0.0.1")], [BOTH]),
        ({"anything-but": 301.5}, [OWN], [NUMBER]),
        ({"cidr": "2001:db8::/64"}, [Attribute("String", "2001:db8::1")], [Attribute("String", "10.0.0.1")]),
    ],
    ids=range(28),
)
def test_conditions_on_attributes(wanted, accepted, refused):
    assert [lets(wanted, one) for one in accepted] == [True] * len(accepted)
    assert [lets(wanted, one) for one in refused] == [False] * len(refused)


def test_all_keys_must_match_and_one_way_of_an_or():
    policy = json.dumps({"kind": ["a"], "$or": [{"size": [1]}, {"color": ["red"], "kind": ["a"]}]})
    filter_policies.check(policy, ATTRIBUTES)

    def accepts(**texts):
        given = {name: Attribute("Number" if name == "size" else "String", text) for name, text in texts.items()}
        return filter_policies.accepts(policy, ATTRIBUTES, "{}", given)

    assert accepts(kind="a", size="1")
    assert accepts(kind="a", color="red", size="2")
    assert not accepts(kind="a", color="blue", size="2")
    assert not accepts(kind="b", color="red", size="1")
    assert not accepts(size="1")


def test_an_or_of_one_way_is_a_key_like_others():
    policy = json.dumps({"$or": [{"prefix": "a"}]})
    filter_policies.check(policy, ATTRIBUTES)
    assert not filter_policies.accepts(policy, ATTRIBUTES, "", {"a": TEXT})


@pytest.mark.parametrize(
    ("policy", "body", "accepted"),
    [
        ({"a": {"b": ["x"]}}, {"a": {"b": "x"}}, True),
        ({"a": {"b": ["x"]}}, {"a": {"b": "y"}}, False),
        ({"a": {"b": ["x"]}}, {"a": "x"}, False),
        ({"a": {"b": ["x"]}}, {}, False),
        ({"a": {"b": ["x"]}}, {"a": [{"b": "y"}, {"b": ["x"]}]}, True),
        ({"a": {"b": ["x"], "c": [1]}}, {"a": [{"b": "x"}, {"c": 1}]}, False),
        ({"a": {"b": [{"exists": False}]}}, {"a": {"c": 1}}, True),
        ({"a": {"b": [{"exists": False}]}}, {"c": 1}, True),
        ({"a": [{"exists": True}]}, {"a": None}, True),
        ({"a": [{"exists": True}]}, {"a": {"b": 1}}, False),
        ({"a": [{"anything-but": "x"}]}, {"a": [["y"]]}, False),
        ({"a": [True]}, {"a": True}, True),
        ({"a": [1]}, {"a": True}, False),
        ({"a": [1]}, {"a": 1.0}, True),
        ({"a": ["x"]}, ["x"], False),
        ({"$or": [{"a": ["x"]}, {"b": {"c": [{"numeric": [">", 1]}]}}]}, {"b": {"c": 2}}, True),
    ],
    ids=range(16),
)
def test_what_bodies_say(policy, body, accepted):
    text = json.dumps(policy)
    filter_policies.check(text, BODY)
    assert filter_policies.accepts(text, BODY, json.dumps(body), {"a": TEXT}) is accepted


@pytest.mark.parametrize("body", ["", "{", "x", '{"a": 1e99999999999999999999}', "[" * 100_000], ids=range(5))
def test_a_body_that_is_no_json_object_is_not_let_through(body):
    assert not filter_policies.accepts('{"a": [1]}', BODY, body, {})


def nest(depth):
    return {"a": nest(depth - 1)} if depth else {"a": ["x"]}


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        ("[", "failed to parse JSON"),
        ("[" * 100_000, "failed to parse JSON"),
        ('["a"]', "failed to parse JSON"),
        ('{"a": [NaN, NaN]}' + " " * 262_144, "too large"),
        ({}, "Empty objects"),
        ({"a": {}}, "nested"),
        ({"a": {"b": ["x"]}}, "nested"),
        ({"a": []}, "Empty arrays"),
        ({"a": "x"}, '"a" must be an object or an array'),
        ({"$or": [{"a": ["x"]}, {}]}, "Empty objects"),
        ({"$or": [{"a": ["x"]}, "x"]}, "Unrecognized match type a"),
        ({"a": [["x"]]}, "Match value"),
        ({"a": [{"prefix": "a", "suffix": "b"}]}, "Only one key"),
        ({"a": [{}]}, "Only one key"),
        ({"a": [{"like": "x"}]}, "Unrecognized match type like"),
        ({"a": [{"prefix": 1}]}, "prefix match pattern"),
        ({"a": [{"exists": "true"}]}, "exists match pattern"),
        ({"a": [{"anything-but": []}]}, "Empty arrays"),
        ({"a": [{"anything-but": [True]}]}, "Inside anything-but"),
        ({"a": [{"anything-but": {"prefix": "x", "suffix": "y"}}]}, "Unsupported anything-but"),
        ({"a": [{"anything-but": {"exists": True}}]}, "Unsupported anything-but"),
        ({"a": [{"anything-but": {"prefix": 1}}]}, "prefix match pattern"),
        ({"a": [{"numeric": 1}]}, "Value of numeric"),
        ({"a": [{"numeric": ["="]}]}, "Value of numeric"),
        ({"a": [{"numeric": ["~", 1]}]}, "Unrecognized numeric range operator"),
        ({"a": [{"numeric": [1, 1]}]}, "Unrecognized numeric range operator"),
        ({"a": [{"numeric": ["=", "1"]}]}, "must be numeric"),
        ({"a": [{"numeric": [">", 2, "<", 2]}]}, "Bottom"),
        ({"a": [{"numeric": ["<", 1, "<", 2]}]}, "Bottom"),
        ({"a": [{"numeric": [">", 1, ">", 2]}]}, "Bottom"),
        ({"a": [{"numeric": ["<", 1_000_000_001]}]}, "Numbers must be"),
        ({"a": [{"anything-but": [-1_000_000_001]}]}, "Numbers must be"),
        ({"a": [1_000_000_000.5]}, "Numbers must be"),
        ({"a": [{"cidr": "10.0.0.1/8"}]}, "CIDR"),
        ({"a": [{"cidr": 10}]}, "CIDR"),
        ({"a": [{"cidr": True}]}, "CIDR"),
        ({"a": [{"numeric": [[1], 1]}]}, "Unrecognized numeric range operator"),
        ({"$or": 1}, "must be an object or an array"),
        ({name: ["x"] for name in "abcdef"}, "more than 5 keys"),
        ({"a": list(range(16)), "b": list(range(10))}, "too complex"),
    ],
    ids=range(40),
)
def test_what_is_no_policy(policy, why):
    text = policy if isinstance(policy, str) else json.dumps(policy)
    with pytest.raises(InvalidParameter, match=f"Invalid parameter: FilterPolicy: .*{why}"):
        filter_policies.check(text, ATTRIBUTES)


def test_how_long_a_policy_may_be():
    policy = '{"a": ["x"]}'
    filter_policies.check(policy + " " * (262_144 - len(policy)), ATTRIBUTES)


@pytest.mark.parametrize(
    ("policy", "is_one"),
    [
        ({"a": list(range(15)), "b": list(range(10))}, True),
        ({"a": [-1_000_000_000, 1_000_000_000]}, True),
        ({name: ["x"] for name in "abcde"}, True),
        ({"a": {"b": list(range(75))}}, True),
        ({"a": {"b": list(range(76))}}, False),  # its depth counts
        ({"a": {name: ["x"] for name in "abc"}, "b": {name: ["x"] for name in "abc"}}, False),
        (
            {"$or": [{"a": list(range(75))}, {"a": list(range(75))}]},
            True,
        ),  # ways are added, and their keys are the same
        ({"$or": [{"a": list(range(75))}, {"a": list(range(76))}]}, False),
        ({"$or": [{"a": ["x"], "b": ["x"], "c": ["x"]}, {"d": ["x"], "e": ["x"], "f": ["x"]}]}, False),
        (nest(149), True),
        (nest(850), False),
        (nest(150), False),
    ],
    ids=range(12),
)
def test_how_much_a_policy_may_be(policy, is_one):
    if is_one:
        filter_policies.check(json.dumps(policy), BODY)
        return
    with pytest.raises(InvalidParameter):
        filter_policies.check(json.dumps(policy), BODY)
