"""An account has so many requests under way and no more, whatever the others have."""

import pytest

from stead_controller.errors import TooManyRequests
from stead_controller.object_store.backend import _AT_ONCE
from stead_controller.object_store.concurrency_limit import MOST_AT_ONCE, AtOnce


def test_one_account_leaves_room_for_others():
    at_once = AtOnce(2)
    at_once.enter("one")
    at_once.enter("one")
    with pytest.raises(TooManyRequests):
        at_once.enter("one")
    at_once.enter("other")
    at_once.leave("one")
    at_once.enter("one")
    with pytest.raises(TooManyRequests):
        at_once.enter("one")


def test_who_has_left_is_forgotten():
    at_once = AtOnce(1)
    for number in range(100):
        at_once.enter(str(number))
        at_once.leave(str(number))
    assert not at_once._begun


def test_no_account_has_all_connections():
    assert 2 * MOST_AT_ONCE <= _AT_ONCE
