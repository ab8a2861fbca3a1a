"""Which hardware threads are set apart for guests with whole cores, and which are left for all else."""

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from stead_agent import hardware
from stead_agent.hardware import Core


class WholeCoresError(ValueError):
    """These threads cannot be set apart; the message is for the operator."""


@dataclass(frozen=True, slots=True)
class Division:
    """The threads that all other guests and QEMU's own work share, and the cores that guests may have alone."""

    shared: tuple[int, ...]
    cores: tuple[Core, ...] = ()

    @property
    def limit(self) -> str:
        """The shared threads as the kernel lists them; empty where nothing is set apart, so that nothing is limited."""
        return ",".join(map(str, self.shared)) if self.cores else ""


def divide(named: Collection[int], usable: Collection[int] | None = None, root: Path = Path("/")) -> Division:
    """Set the named threads apart of those that this process, or `usable`, may use; raises WholeCoresError.

    They may be threads that the kernel isolates (`isolcpus=`), which no process is given by itself.
    """
    mine = set(os.sched_getaffinity(0) if usable is None else usable)
    wanted = set(named)
    if not wanted:
        return Division(tuple(sorted(mine)))
    missing = wanted - hardware.online(root)
    if missing:
        raise WholeCoresError(f"this host has no hardware thread {min(missing)}")
    if mine <= wanted:
        raise WholeCoresError("a core at least must be left for the host and for all other guests")
    cores = hardware.cores(mine | wanted, root)
    for core in cores:
        named_of_it = wanted.intersection(core.threads)
        if named_of_it and len(named_of_it) < len(core.threads):
            threads = ", ".join(map(str, core.threads))
            raise WholeCoresError(f"the threads {threads} are of one core: name all of them or none")
    apart = tuple(core for core in cores if wanted.issuperset(core.threads))
    if sum(len(core.threads) for core in apart) < len(wanted):
        raise WholeCoresError("the kernel does not say of which core and memory node each of these threads is")
    return Division(tuple(sorted(mine - wanted)), apart)
