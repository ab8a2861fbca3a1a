"""The clock of a guest that was resumed is set by its agent, as soon as that is connected."""

import json
import time
from dataclasses import dataclass, field

import libvirt
import libvirt_qemu
import pytest

from stead_agent.machines import guest_agent


@dataclass
class Domain:
    """A guest whose agent is connected when it has been looked for so often, and what that was asked."""

    after: int = 0
    asked: list[tuple[str, int]] = field(default_factory=list)

    def name(self) -> str:
        return "i-0123456789abcdef0"

    def XMLDesc(self, _flags: int) -> str:  # noqa: N802 - libvirt's
        self.after -= 1
        state = "connected" if self.after < 0 else "disconnected"
        channels = (("org.qemu.guest_agent.0", state), ("com.redhat.spice.0", "connected"))
        described = "".join(f"<channel><target name='{name}' state='{each}'/></channel>" for name, each in channels)
        return f"<domain><devices>{described}</devices></domain>"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which passes when it is slept."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    monkeypatch.setattr(time, "time_ns", lambda: 1_796_148_823_000_000_000)
    return now


@pytest.fixture(autouse=True)
def _agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        libvirt_qemu, "qemuAgentCommand", lambda domain, words, seconds, _flags: domain.asked.append((words, seconds))
    )


@pytest.mark.parametrize("after", [0, 3])
def test_an_agent_that_is_connected_sets_the_clock(clock: list[float], after: int) -> None:
    domain = Domain(after)
    guest_agent.set_clock(domain)
    [(words, seconds)] = domain.asked
    assert json.loads(words) == {"execute": "guest-set-time", "arguments": {"time": 1_796_148_823_000_000_000}}
    assert (seconds, clock[0]) == (5, 100.0 + 0.5 * after)


def test_a_guest_without_an_agent_is_left_alone_after_a_while(clock: list[float]) -> None:
    domain = Domain(1000)
    guest_agent.set_clock(domain)
    assert (domain.asked, clock[0]) == ([], 110.0)


def test_an_agent_that_does_not_answer_is_only_noted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise libvirt.libvirtError("no answer")

    monkeypatch.setattr(libvirt_qemu, "qemuAgentCommand", fail)
    with caplog.at_level("INFO"):
        guest_agent.set_clock(Domain())
    assert [each.message for each in caplog.records] == ["guest_clock_doubtful"]
