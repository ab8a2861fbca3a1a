"""How often a guest is asked to release a device."""

import pytest

from stead_agent.machines import devices
from stead_agent.machines.attach import Detach

ONE, OTHER = Detach("vol1", "virtio-disk1"), Detach("vol2", "virtio-disk2")


class Domain:
    """A guest that notes what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def name(self) -> str:
        return "i-1"

    def detachDeviceAlias(self, alias: str, _flags: int) -> None:  # noqa: N802 - libvirt's
        self.asked.append(alias)


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets."""
    now = [100.0]
    monkeypatch.setattr(devices.time, "monotonic", lambda: now[0])
    return now


def test_an_arm64_guest_is_asked_again_only_when_it_had_the_time_to_answer(clock):
    releases, domain = devices.Releases(), Domain()
    releases.ask(domain, "arm64", [ONE])
    clock[0] += 9.9
    releases.ask(domain, "arm64", [ONE, OTHER])
    assert domain.asked == [ONE.alias, OTHER.alias]
    clock[0] += 0.1
    releases.ask(domain, "arm64", [ONE, OTHER])
    assert domain.asked == [ONE.alias, OTHER.alias, ONE.alias]


def test_another_guest_is_asked_each_time(clock):
    releases, domain = devices.Releases(), Domain()
    for _ in range(2):
        releases.ask(domain, "x86_64", [ONE])
    assert domain.asked == [ONE.alias] * 2
