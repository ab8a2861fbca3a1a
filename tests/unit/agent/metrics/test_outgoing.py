"""Measurements wait until they are stored, not for ever."""

import pytest

from stead_agent.metrics import outgoing
from stead_agent.metrics.outgoing import Outgoing
from stead_proto.v1.host_pb2 import Measured, Measurements


@pytest.fixture
def three():
    made = Outgoing()
    for name in ("a", "b", "c"):
        made.put(Measurements(measured=[Measured(id=name)]))
    return made


def _first(kept):
    message = kept.first()
    return message and (message.number, message.measured[0].id)


async def test_the_oldest_is_first_until_it_is_stored(three):
    assert three.has_more.is_set()
    assert _first(three) == _first(three) == (1, "a")
    assert not three.has_more.is_set()
    three.stored(1)
    assert three.has_more.is_set()
    assert _first(three) == (2, "b")
    three.stored(3)
    assert _first(three) is None


async def test_the_oldest_are_dropped(three, monkeypatch):
    monkeypatch.setattr(outgoing, "KEPT", 2)
    three.put(Measurements(measured=[Measured(id="d")]))
    assert _first(three) == (3, "c")
