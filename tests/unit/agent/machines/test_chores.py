"""Background work: what is logged of chores that fail, and that the others are done."""

import logging

import libvirt
import pytest

from stead_agent.machines.chores import Chores
from stead_agent.machines.connection import Connection
from stead_agent.machines.interface import MachineAbsentError, MachineError
from tests.support.waiting import wait_for


def test_a_guest_that_has_ended_is_no_fault_of_a_chore(caplog: pytest.LogCaptureFixture) -> None:
    """Guests end at any time, also between two calls of a chore that looks at one."""
    caplog.set_level(logging.INFO, "stead_agent")
    done: list[str] = []

    def fail(error: Exception) -> None:
        raise error

    chores = Chores("test-chores")
    chores.soon(lambda: fail(MachineAbsentError("i-1 is not on this host")))
    chores.soon(lambda: fail(MachineError("i-2: refused")))
    chores.soon(lambda: fail(ValueError("a fault")))
    chores.soon(lambda: done.append("the last"))
    wait_for(lambda: done, "the last chore is done")
    chores.close()
    assert [(each.levelname, each.message) for each in caplog.records] == [
        ("WARNING", "chore_put_off"),
        ("ERROR", "chore_failed"),
    ]


@pytest.mark.parametrize(
    ("code", "kind"),
    [(libvirt.VIR_ERR_NO_DOMAIN, MachineAbsentError), (libvirt.VIR_ERR_OPERATION_INVALID, MachineError)],
)
def test_a_domain_that_is_gone_is_an_absent_machine(
    monkeypatch: pytest.MonkeyPatch, code: int, kind: type[MachineError]
) -> None:
    link = Connection("test:///", on_event=lambda _name, _rebooted: None, on_link=lambda _up: None)
    monkeypatch.setattr(link, "is_up", lambda: True)
    monkeypatch.setattr(libvirt.libvirtError, "get_error_code", lambda _error: code)
    with pytest.raises(MachineError, match="i-1: it is so") as raised, link.translated("i-1"):
        raise libvirt.libvirtError("it is so")
    assert type(raised.value) is kind
