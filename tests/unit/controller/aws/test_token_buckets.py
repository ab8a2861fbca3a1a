"""Buckets of tokens: all of a call's are taken or none, and what is full takes no memory (rates: test_throttle.py)."""

from stead_controller.aws.token_buckets import Rate, TokenBuckets

TWO = Rate(2, 1)


def test_all_are_taken_or_none():
    buckets = TokenBuckets(clock=lambda: 0.0)
    assert buckets.take([("a", TWO, 1.0), ("b", TWO, 2.0)])
    assert not buckets.take([("a", TWO, 1.0), ("b", TWO, 1.0)])
    assert buckets.has("a", TWO)
    assert not buckets.has("b", TWO)
    assert buckets.take([("a", TWO, 1.0)])
    assert not buckets.has("a", TWO)


def test_looking_takes_nothing():
    buckets = TokenBuckets(clock=lambda: 0.0)
    for _ in range(10):
        assert buckets.has("a", TWO)
    assert buckets._buckets == {}
    assert buckets.take([("a", TWO, 2.0)])


def test_no_factor_makes_a_bucket_too_small_for_one():
    buckets = TokenBuckets(0.001, clock=lambda: 0.0)
    assert buckets.take([("a", TWO, 1.0)])
    assert not buckets.take([("a", TWO, 1.0)])
