"""How many vCPUs and how much memory a host offers to instances, of what it has and what its operator set.

What is free is not stored: the database derives it, as what is offered less what is reserved (`Host.memory_free`). So a
host that shrinks has less than nothing free until enough has ended, whatever happens in between.
"""

from dataclasses import dataclass, replace

from stead_controller.db.tables import Host
from stead_controller.placement.guest_memory import kept_for_emulation
from stead_controller.request.cloud import Cloud


@dataclass(frozen=True, slots=True)
class Terms:
    """vCPUs offered per hardware thread, bytes offered per byte of memory, and bytes that the host needs itself.

    `emulation_memory` bytes are not offered either, where there is no KVM: they are for what emulating guests takes.
    """

    overcommit_cpus: float
    overcommit_memory: float
    reserve_memory: int
    emulation_memory: int


def terms_of(host: Host, cloud: Cloud) -> Terms:
    """Return what is set for a host; where nothing is, the cloud's overcommit and reserve, and memory is offered once.

    The cloud's reserve is at most a quarter of the host's memory.
    """
    reserve = min(cloud.memory_kept, host.memory // 4) if host.reserve_memory is None else host.reserve_memory
    terms = Terms(host.overcommit_cpus or cloud.cpu_overcommit, host.overcommit_memory or 1.0, reserve, 0)
    if host.accelerated:
        return terms
    return replace(terms, emulation_memory=kept_for_emulation(_cpus(host, terms), _memory(host, terms)))


def renew(host: Host, cloud: Cloud) -> None:
    """Write what a host offers, after its facts or its terms have changed."""
    terms = terms_of(host, cloud)
    host.cpus_offered = _cpus(host, terms)
    host.memory_offered = _memory(host, terms) - terms.emulation_memory


def _cpus(host: Host, terms: Terms) -> int:
    return int(host.cpus * terms.overcommit_cpus)


def _memory(host: Host, terms: Terms) -> int:
    return int(host.memory * terms.overcommit_memory) - terms.reserve_memory
