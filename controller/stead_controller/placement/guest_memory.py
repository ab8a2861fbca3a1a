"""How much of its host's memory a guest takes: its own, and what QEMU, a TPM and the kernel's page tables need for it.

The figures are those of `tests/bench/guest_memory.py`, rounded up. The cache of translated code is counted on each
host: one that has KVM today may have to emulate the same guests after its next boot. Programs and libraries are not
counted: all guests share their pages.

A host without KVM keeps memory for more of such code, of what it would offer otherwise (`kept_for_emulation`): so hosts
with KVM lack nothing for it, and what an instance takes is the same everywhere. A full host whose KVM fails has less
than nothing free from then on: until some of its guests have ended, their caches may have more than what is kept.

What an instance took is given back by the same figures: other ones need a migration that counts what hosts have
reserved anew, as `8d2f6a3b91c5` does.
"""

from typing import Final

_MIB: Final = 1 << 20
_QEMU: Final = 44 * _MIB  # with all the disks and interfaces that a guest may have: 0.6 MiB each
_TRANSLATED_CODE: Final = 32 * _MIB  # `tb-cache` of the agent's domain_xml.py
_EMULATED_VCPU: Final = 64 * _MIB  # that agents without KVM let it have more for each vCPU
_LARGEST_PART: Final = 4  # it is at most a third of what else a guest takes, so a quarter of all
_PER_VCPU: Final = 1 * _MIB
_TABLES: Final = 256  # 8 bytes for each page of 4 KiB, in QEMU's page tables and in those of KVM
_UEFI: Final = 12 * _MIB
_AAVMF: Final = 140 * _MIB  # of arm64: two flash chips of 64 MiB, which QEMU reads into memory whole
_TPM: Final = 4 * _MIB


def memory_of(
    memory: int,
    vcpus: int,
    *,
    uefi: bool = False,
    tpm: bool = False,
    huge: bool = False,
    architecture: str = "x86_64",
) -> int:
    """Return the bytes that a guest with so many of its own takes of its host while it runs.

    If its own are `huge` pages, which are counted apart, it takes only what QEMU needs.
    """
    own = 0 if huge else memory + memory // _TABLES
    firmware = _AAVMF if architecture == "arm64" else _UEFI * uefi
    return own + _QEMU + _TRANSLATED_CODE + _PER_VCPU * vcpus + firmware + _TPM * tpm


def kept_for_emulation(vcpus: int, memory: int) -> int:
    """Return how many of the bytes that a host without KVM has for guests it keeps for emulating so many vCPUs.

    All guests for which there is room then, of whatever sizes, have no more in their caches beyond what each takes.
    """
    return max(min(_EMULATED_VCPU * vcpus, memory // _LARGEST_PART), 0)
