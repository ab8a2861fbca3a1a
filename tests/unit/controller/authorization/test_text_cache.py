"""The cache is limited by the length of the texts, and has those used last."""

import json

from hypothesis import given
from hypothesis import strategies as st

from stead_controller.authorization import policy_document
from stead_controller.authorization.policy_document import parse
from stead_controller.authorization.text_cache import TextCache


def test_the_longest_unused_goes_first():
    cache = TextCache[int](10)
    for number, text in enumerate(("aaaa", "bbbb", "cc")):
        cache.put(text, "kind", number)
    assert cache.get("aaaa", "kind") == 0
    cache.put("ddd", "kind", 3)
    assert [cache.get(text, "kind") for text in ("aaaa", "bbbb", "cc", "ddd")] == [0, None, 2, 3]
    assert cache.get("ddd", "another kind") is None


def test_what_is_too_long_drives_nothing_out():
    cache = TextCache[int](10)
    cache.put("a", "", 1)
    cache.put("b" * 11, "", 2)
    assert (cache.get("a", ""), cache.get("b" * 11, ""), cache.held) == (1, None, 1)


@given(st.lists(st.tuples(st.text("ab", min_size=1, max_size=6), st.sampled_from("xy"), st.booleans()), max_size=40))
def test_it_never_holds_too_much_and_never_the_wrong_thing(steps):
    cache = TextCache[str](12)
    for text, besides, puts in steps:
        if puts:
            cache.put(text, besides, text + besides)
        assert cache.get(text, besides) in (None, text + besides)
        assert cache.held == sum(len(key) for key, _ in cache._made) <= 12


def test_unused_policies_are_dropped_from_the_cache():
    """A tenant may have any number of long policies simulated: they make room for each other."""
    statement = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    for number in range(100):
        policy = {"Version": "2012-10-17", "Id": f"{number:0100000}", "Statement": statement}
        text = json.dumps(policy)
        assert parse(text) is parse(text)
        assert policy_document._CACHE.held <= 4 << 20
