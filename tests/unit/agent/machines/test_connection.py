"""The connection to libvirt: what keeps calls from waiting for ever."""

import libvirt
import pytest

from stead_agent.machines import connection
from stead_agent.machines.connection import Connection
from tests.support.waiting import wait_for


class Daemon:
    """What libvirt.open gives, as far as a connection uses it by itself."""

    def __init__(self):
        self.calls, self.closed, self.ended = 0, None, False

    def __getattr__(self, name):
        return {
            "registerCloseCallback": lambda callback, _opaque: setattr(self, "closed", callback),
            "isAlive": lambda: not self.ended,
            "getLibVersion": self.ask,
        }.get(name, lambda *_: None)

    def ask(self):
        self.calls += 1
        if self.ended:
            raise libvirt.libvirtError("client socket is closed")
        return 11_003_000


@pytest.fixture
def daemons(monkeypatch):
    made = []

    def open_one(_uri):
        made.append(Daemon())
        return made[-1]

    monkeypatch.setattr(libvirt, "open", open_one)
    monkeypatch.setattr(connection, "_WAKE_SECONDS", 0.01)
    return made


def test_a_call_comes_every_few_seconds_also_after_one_that_failed(daemons):
    """Libvirt's own bug cannot be had at will: one thread must end the connection between two lines of another."""
    links = []
    link = Connection("test:///", on_event=lambda _name, _rebooted: None, on_link=links.append)
    link.start({})
    wait_for(lambda: daemons[0].calls > 2, "calls are made")
    daemons[0].ended = True
    before = daemons[0].calls
    wait_for(lambda: daemons[0].calls > before + 1, "calls are made though they fail")
    daemons[0].closed(daemons[0], 4, None)
    wait_for(
        lambda: len(daemons) > 1 and daemons[1].calls > 1, "another connection is opened, and calls are made on it"
    )
    assert links[:3] == [True, False, True]
    link.close()
