"""The connection to libvirt: what keeps calls from waiting for ever."""

import os
import socket
from contextlib import ExitStack
from urllib.parse import quote

import libvirt
import pytest

from stead_agent.machines import connection
from stead_agent.machines.connection import Connection
from stead_agent.machines.hanging_up import hang_up
from tests.support.waiting import wait_for


class Daemon:
    """What libvirt.open gives, as far as a connection uses it by itself."""

    def __init__(self):
        self.closed, self.ended, self.listens = None, False, True

    def __getattr__(self, name):
        return {
            "registerCloseCallback": lambda callback, _opaque: setattr(self, "closed", callback),
            "isAlive": lambda: not self.ended,
        }.get(name, lambda *_: None)

    def domainEventRegisterAny(self, *_):  # noqa: N802 - libvirt's name
        self.ended = not self.listens
        if self.ended:
            turn()
            raise libvirt.libvirtError("connection closed due to keepalive timeout")


class TurnedError(Exception):
    """The event loop is to turn no more."""


@pytest.fixture(autouse=True)
def hung_up(monkeypatch):
    """The URIs whose sockets were shut down, while no event loop turns by itself."""
    found = []
    turns = iter((None,))

    def once():
        nonlocal turns
        if next(turns, TurnedError) is TurnedError:
            turns = iter((None,))
            raise TurnedError

    monkeypatch.setattr(libvirt, "virEventRunDefaultImpl", once)
    monkeypatch.setattr(connection, "start_event_loop", lambda: None)
    monkeypatch.setattr(connection.hanging_up, "hang_up", found.append)
    return found


def turn():
    with pytest.raises(TurnedError):
        connection._run_event_loop()


@pytest.fixture
def daemons(monkeypatch):
    made = []

    def open_one(_uri):
        made.append(Daemon())
        return made[-1]

    monkeypatch.setattr(libvirt, "open", open_one)
    return made


@pytest.fixture
def links():
    return []


@pytest.fixture
def link(links):
    made = Connection("test:///", on_event=lambda _name, _rebooted: None, on_link=links.append)
    yield made
    made.close()


def test_calls_on_a_connection_that_was_ended_do_not_wait(link, links, daemons, hung_up):
    """Libvirt's own bug cannot be had at will: one thread must end the connection between two lines of another."""
    link.start({})
    turn()
    assert hung_up == []
    daemons[0].ended = True
    turn()
    turn()
    assert hung_up == ["test:///"]
    daemons[0].closed(daemons[0], 4, None)
    wait_for(lambda: len(links) > 2, "another connection is opened")
    turn()
    assert (links, len(hung_up)) == ([True, False, True], 1)
    daemons[1].ended = True
    link.close()
    turn()
    assert len(hung_up) == 1


def test_a_connection_may_end_while_it_is_begun(link, links, daemons, hung_up, monkeypatch):
    monkeypatch.setattr(connection, "_RETRY_SECONDS", 60)
    monkeypatch.setattr(Daemon, "__init__", lambda self: self.__dict__.update(ended=False, listens=False))
    link.start({})
    assert (links, hung_up) == ([], ["test:///"])
    turn()
    assert hung_up == ["test:///"]


def test_what_is_known_to_be_lost_is_not_hung_up(link, links, daemons, hung_up, monkeypatch):
    """The next connection, which is being opened, would be hung up with it."""
    monkeypatch.setattr(connection, "_RETRY_SECONDS", 60)

    def refuse(*_):
        raise libvirt.libvirtError("not now")

    link.start({})
    monkeypatch.setattr(Daemon, "domainEventRegisterAny", refuse)
    daemons[0].ended = True
    daemons[0].closed(daemons[0], 1, None)
    turn()
    wait_for(lambda: len(daemons) > 1 and link._why == "not now", "the next one is refused")
    daemons[1].ended = True
    turn()
    assert (links, hung_up) == ([True, False], [])


@pytest.mark.parametrize("name", ["libvirt-sock", "virtqemud-sock", "of our own"])
def test_the_sockets_of_a_daemon_alone_are_shut_down(tmp_path, name):
    files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - Path gives no number
    with ExitStack() as stack:
        ends = []
        for each in (name, "another"):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(tmp_path / each))
            listener.listen()
            for _ in range(2):
                ends.append(stack.enter_context(socket.socket(socket.AF_UNIX)))
                ends[-1].connect(str(tmp_path / each))
                ends[-1].setblocking(False)
        hang_up("qemu:///system" if "sock" in name else f"qemu+unix:///system?socket={quote(str(tmp_path / name))}")
        assert [end.recv(1) for end in ends[:2]] == [b"", b""]
        for end in ends[2:]:
            with pytest.raises(BlockingIOError):
                end.recv(1)
    assert len(os.listdir("/proc/self/fd")) == files  # noqa: PTH208 - Path gives no number
