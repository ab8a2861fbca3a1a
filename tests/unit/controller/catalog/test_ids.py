"""Ids cannot be guessed, and are known by their form."""

import random
from collections import Counter

import pytest

from stead_controller.catalog import ids
from stead_controller.catalog.nouns import OF_PREFIX

SAMPLES = 2000


@pytest.mark.parametrize("resource_type", sorted(noun.type for noun in OF_PREFIX.values()))
def test_an_id_is_of_its_type_and_no_other(resource_type):
    made = ids.new_id(resource_type)
    assert ids.is_id(resource_type, made)
    assert ids.resource_type_of(made) == resource_type
    assert [noun.type for noun in OF_PREFIX.values() if ids.is_id(noun.type, made)] == [resource_type]


def test_ids_come_from_no_seed_and_every_digit_is_free():
    random.seed(1)
    first = ids.new_id("instance")
    random.seed(1)
    assert ids.new_id("instance") != first
    digits = [ids.new_id("instance").rpartition("-")[2][1:] for _ in range(SAMPLES)]
    assert len(set(digits)) == SAMPLES
    for position in range(16):  # 64 bits: each hex digit is about as frequent as any other, far within 8 sigma
        counts = Counter(one[position] for one in digits)
        assert len(counts) == 16
        assert all(abs(count - SAMPLES / 16) < 8 * (SAMPLES / 16) ** 0.5 for count in counts.values())
