"""A guest is booted again for one reason alone: that its QEMU died of itself."""

import subprocess
from pathlib import Path

import pytest

from tests.support import emulator
from tests.support.emulator import EmulatorDiedError

MSIX = "qemu-system-x86_64: ../hw/pci/msix.c:525: msix_notify: Assertion `vector < dev->msix_entries_nr' failed.\n"
GLIB = "**\nERROR:../accel/tcg/tcg-accel-ops.c:83:f: assertion failed: (bql_locked())\n"
ENDED = "2026-11-27 03:10:26.551+0000: shutting down, reason=crashed\n"


STALL = (
    "[   30.053765] rcu: INFO: rcu_preempt self-detected stall on CPU\n"
    "[   30.053765] rcu: rcu_preempt kthread timer wakeup didn't happen for 5949 jiffies! g-991 f0x0\n"
)


def status_of(script: str) -> int:
    return subprocess.run(["sh", "-c", script], check=False).returncode


@pytest.mark.parametrize("name", ["ABRT", "SEGV"])
def test_a_fault_of_its_own_is_known_by_its_signal(name: str) -> None:
    with pytest.raises(EmulatorDiedError, match=f"SIG{name}: words"):
        emulator.check_status(status_of(f"ulimit -c 0; kill -{name} $$"), "words")


@pytest.mark.parametrize("script", ["kill -KILL $$", "kill -TERM $$", "exit 1", "exit 0"])
def test_what_others_did_to_it_and_what_it_said_are_none(script: str) -> None:
    emulator.check_status(status_of(script), "words")


@pytest.mark.parametrize("words", [MSIX, GLIB])
def test_an_assertion_in_its_log_counts(tmp_path: Path, words: str) -> None:
    log = tmp_path / "i-1.log"
    log.write_text(words + ENDED)
    with pytest.raises(EmulatorDiedError):
        emulator.raise_for_log(log)
    with pytest.raises(EmulatorDiedError):
        emulator.check_words(words)


def test_an_end_without_one_is_a_failure_that_shows_the_log(tmp_path: Path) -> None:
    log = tmp_path / "i-1.log"
    with pytest.raises(AssertionError, match="No such file"):
        emulator.raise_for_log(log, 0)
    log.write_text(ENDED)
    with pytest.raises(AssertionError, match="reason=crashed"):
        emulator.raise_for_log(log, 0)
    emulator.check_words(ENDED)


def test_it_is_booted_once_more_with_a_warning() -> None:
    outcomes: list[object] = [EmulatorDiedError("an assertion"), "up"]
    with pytest.warns(UserWarning, match="an assertion"):
        assert emulator.booted(lambda: _next(outcomes)) == "up"
    outcomes = [EmulatorDiedError("one"), EmulatorDiedError("two"), "up"]
    with pytest.warns(UserWarning, match="one"), pytest.raises(EmulatorDiedError, match="two"):
        emulator.booted(lambda: _next(outcomes))
    assert outcomes == ["up"]


@pytest.mark.parametrize("failure", [AssertionError("no prompt"), TimeoutError("late")])
def test_for_no_other_reason(failure: Exception) -> None:
    outcomes: list[object] = [failure, "up"]
    with pytest.raises(type(failure)):
        emulator.booted(lambda: _next(outcomes))
    assert outcomes == ["up"]


def test_a_lost_timer_counts_and_a_slow_processor_does_not() -> None:
    with pytest.raises(EmulatorDiedError, match="5949 jiffies"):
        emulator.check_console(f"a boot\n{STALL}")
    emulator.check_console(
        "rcu: INFO: rcu_preempt self-detected stall on CPU\nrcu: rcu_preempt kthread starved for 5950 jiffies!"
    )


def test_who_lost_a_timer_is_reset_once(monkeypatch: pytest.MonkeyPatch) -> None:
    said, resets, clock = ["booting"], [], [0.0]
    monkeypatch.setattr(emulator.time, "monotonic", lambda: clock[0])
    watch = emulator.HangWatch(lambda: said[-1], lambda: resets.append(clock[0]))
    for second in range(60):
        clock[0] = float(second)
        if second == 21:
            said.append(STALL)
            watch.look()  # it looked a second ago
            assert not resets
        if second == 25:
            with pytest.warns(UserWarning, match="5949 jiffies"):
                watch.look()
        else:
            watch.look()
    assert resets == [25.0]


WAITS = "CPU#{0}\r\nRIP={1} RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT={2}\r\n"
_IDLE = "ffffffff81e2b3cf"


@pytest.mark.parametrize(
    ("processors", "is_lost"),
    [
        ([(_IDLE, 1), (_IDLE, 1)], True),
        ([(_IDLE, 1), (_IDLE, 0)], False),
        ([(_IDLE, 1), ("00000000000f1c2d", 1)], False),  # the firmware found nothing to boot
        ([], False),
    ],
)
def test_a_silent_guest_whose_kernel_waits_for_ever_is_reset(
    monkeypatch: pytest.MonkeyPatch, processors: list[tuple[str, int]], is_lost: bool
) -> None:
    shown = "".join(WAITS.format(number, *each) for number, each in enumerate(processors))
    clock, resets = [0.0], []
    monkeypatch.setattr(emulator.time, "monotonic", lambda: clock[0])
    watch = emulator.HangWatch(lambda: "\n", lambda: resets.append(clock[0]), lambda: shown)
    for second in (5.0, 59.0):
        clock[0] = second
        watch.look()
    clock[0] = 64.0
    if is_lost:
        with pytest.warns(UserWarning, match=f"waits at {_IDLE}, {_IDLE}"):
            watch.look()
    watch.look()
    assert resets == ([64.0] if is_lost else [])


def test_who_has_said_something_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, resets = [0.0], []
    monkeypatch.setattr(emulator.time, "monotonic", lambda: clock[0])
    shown = WAITS.format(0, _IDLE, 1)
    watch = emulator.HangWatch(lambda: "the kernel runs", lambda: resets.append(clock[0]), lambda: shown)
    clock[0] = 100.0
    watch.look()
    assert not resets


def _next(outcomes: list[object]) -> object:
    outcome = outcomes.pop(0)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
