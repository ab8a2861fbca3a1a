"""Which of a process's threads run a guest's vCPUs, and what they have used."""

import os
from pathlib import Path

import pytest

from stead_agent.machines import processors
from stead_agent.machines.processors import Processors

MACHINE = "i-00000000000000001"
PID = "77"


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /proc with one guest."""
    monkeypatch.setattr(processors, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(processors, "runs", lambda pid, machine_id: (pid, machine_id) == (int(PID), MACHINE))
    (tmp_path / f"{MACHINE}.pid").write_text(PID)
    process = tmp_path / "proc" / PID
    thread(process, "", 0)
    for number, name in enumerate(("qemu-system-x86", "CPU 0/TCG", "CPU 1/TCG", "worker", "vnc_worker", "CPU ")):
        thread(process / "task" / str(80 + number), name, 10 * number)
    return process


def thread(folder: Path, name: str, ticks: int) -> None:
    folder.mkdir(parents=True)
    (folder / "comm").write_text(f"{name}\n")
    (folder / "stat").write_text(
        f"1 (a) b) c) S {' '.join(['0'] * 10)} {ticks} {ticks + 1} {' '.join(['0'] * 6)} 300 0"
    )


def used(proc: Path) -> tuple[str, int, int] | None:
    return Processors(lambda _id: pytest.fail("libvirt is not asked"), proc.parents[1]).processor_time(MACHINE)


def test_the_time_of_vcpus_is_counted_and_no_other(proc: Path) -> None:
    tick = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    assert used(proc) == (f"{PID}.300", 300 * tick // 1_000_000, (10 + 11 + 20 + 21) * tick)


def test_a_worker_that_ends_meanwhile_hides_no_vcpu(proc: Path) -> None:
    (proc / "task" / "83" / "comm").unlink()
    assert used(proc) is not None


def test_a_guest_without_vcpus_is_off(proc: Path) -> None:
    for number in ("81", "82"):
        (proc / "task" / number / "comm").write_text("worker")
    assert used(proc) is None


def test_another_process_is_no_guest(proc: Path) -> None:
    (proc.parents[1] / f"{MACHINE}.pid").write_text("78")
    assert used(proc) is None
