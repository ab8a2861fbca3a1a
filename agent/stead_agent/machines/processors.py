"""The vCPUs of guests: what they have used, how much they may use, and their weight when all want more than there is.

Used time is read from the kernel's counters of QEMU's vCPU threads, so it is known while libvirt is away. Limits and
weights are control groups', set by libvirt; a host without these groups for processors runs guests without limits.
"""

import logging
import os
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import libvirt

from stead_agent.machines.interface import MachineError
from stead_agent.machines.process_watch import runs

_log = logging.getLogger(__name__)

_PROC: Final = Path("/proc")
# QEMU's names of the threads that run vCPUs: one each, or under emulation without threads one for all.
_VCPU: Final = re.compile(r"(CPU \d+|ALL CPUs)/")
_TICK: Final = 1_000_000_000 // os.sysconf("SC_CLK_TCK")  # nanoseconds
# Fields of /proc/PID/stat after the name, which is in brackets and may contain anything (proc_pid_stat(5)).
_UTIME, _STIME, _STARTTIME = 11, 12, 19
_PERIOD: Final = 100_000  # microseconds in which a vCPU may use its share: the kernel's default
_LEAST_QUOTA: Final = 1000  # microseconds; libvirt refuses less
# Of one vCPU. Only ratios count, and the same number is allowed as `cpu.shares` and as `cpu.weight` of 255 vCPUs.
_WEIGHT: Final = 32


class Processors:
    """The vCPUs of one agent's guests."""

    def __init__(self, domain: Callable[[str], AbstractContextManager[Any]], runtime_dir: Path) -> None:
        """`domain` yields libvirt's handle of a running guest; libvirt has the process ids in `runtime_dir`."""
        self._domain = domain
        self._runtime_dir = runtime_dir
        self._threads: dict[str, tuple[str, tuple[int, ...]]] = {}  # of a guest's process, by machine

    def processor_time(self, machine_id: str) -> tuple[str, int, int] | None:
        """Return a running guest's process, when it began and what its vCPUs have used since; None when it is off.

        The process is a name that no other of this boot has; it began so many milliseconds after the host's boot. The
        time is in nanoseconds, user and system, exact to two ticks for each vCPU however long it runs.
        """
        try:
            pid = int((self._runtime_dir / f"{machine_id}.pid").read_text(encoding="ascii"))
            began = int(_stat(_PROC / str(pid))[_STARTTIME])
            process = f"{pid}.{began}"
            known, threads = self._threads.get(machine_id, ("", ()))
            if known != process:
                threads = _vcpu_threads(pid)
                if not threads or not runs(pid, machine_id):
                    return None
                self._threads[machine_id] = (process, threads)
            used = sum(_used(pid, thread) for thread in threads)
        except (FileNotFoundError, ProcessLookupError, ValueError):
            self._threads.pop(machine_id, None)
            return None
        return process, began * _TICK // 1_000_000, used

    def limit_processors(self, machine_id: str, share: int | None) -> str:
        """Let each vCPU of a running guest use so many thousandths of a processor, or all of it.

        Returns why that could not be done, or nothing.
        """
        quota = -1 if share is None else max(_LEAST_QUOTA, share * _PERIOD // 1000)
        limits = {"vcpu_period": _PERIOD, "vcpu_quota": quota}
        try:
            with self._domain(machine_id) as domain:
                if domain is not None:
                    domain.setSchedulerParametersFlags(limits, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        except MachineError as error:
            return str(error)
        return ""


def weigh(domain: Any, vcpus: int) -> None:
    """Give a guest that was just started its weight among guests: in proportion to its vCPUs."""
    try:
        domain.setSchedulerParametersFlags({"cpu_shares": _WEIGHT * vcpus}, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    except libvirt.libvirtError as error:  # the host has no such control groups, or the guest has just ended
        _log.warning("processors_not_weighed", extra={"machine": domain.name(), "error": str(error)})


def _vcpu_threads(pid: int) -> tuple[int, ...]:
    return tuple(int(task.name) for task in (_PROC / str(pid) / "task").iterdir() if _VCPU.match(_name(task)))


def _name(task: Path) -> str:
    """Return a thread's name; nothing when it has just ended, as QEMU's workers do at any time."""
    try:
        return (task / "comm").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _used(pid: int, thread: int) -> int:
    found = _stat(_PROC / str(pid) / "task" / str(thread))
    return (int(found[_UTIME]) + int(found[_STIME])) * _TICK


def _stat(folder: Path) -> list[str]:
    return (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
