"""What is kept has an end, by the length of the texts, and is what was used last."""

import json

from hypothesis import given
from hypothesis import strategies as st

from stead_controller.authorization import policy_document
from stead_controller.authorization.policy_document import parse
from stead_controller.authorization.text_cache import TextCache


def test_the_longest_unused_goes_first():
    kept = TextCache[int](10)
    for number, text in enumerate(("aaaa", "bbbb", "cc")):
        kept.put(text, "kind", number)
    assert kept.get("aaaa", "kind") == 0
    kept.put("ddd", "kind", 3)
    assert [kept.get(text, "kind") for text in ("aaaa", "bbbb", "cc", "ddd")] == [0, None, 2, 3]
    assert kept.get("ddd", "another kind") is None


def test_what_is_too_long_drives_nothing_out():
    kept = TextCache[int](10)
    kept.put("a", "", 1)
    kept.put("b" * 11, "", 2)
    assert (kept.get("a", ""), kept.get("b" * 11, ""), kept.held) == (1, None, 1)


@given(st.lists(st.tuples(st.text("ab", min_size=1, max_size=6), st.sampled_from("xy"), st.booleans()), max_size=40))
def test_it_never_holds_too_much_and_never_the_wrong_thing(steps):
    kept = TextCache[str](12)
    for text, besides, puts in steps:
        if puts:
            kept.put(text, besides, text + besides)
        assert kept.get(text, besides) in (None, text + besides)
        assert kept.held == sum(len(key) for key, _ in kept._made) <= 12


def test_policies_that_nobody_has_leave_no_trace_for_long():
    """A tenant may have any number of long policies simulated: they make room for each other."""
    statement = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    for number in range(100):
        policy = {"Version": "2012-10-17", "Id": f"{number:0100000}", "Statement": statement}
        text = json.dumps(policy)
        assert parse(text) is parse(text)
        assert policy_document._CACHE.held <= 4 << 20
