"""How much of its host's memory a guest takes: its own, and what QEMU, a TPM and the kernel's page tables need for it.

The figures are those of `tests/bench/guest_memory.py`, rounded up. The cache of translated code is counted on each
host: one that has KVM today may have to emulate the same guests after its next boot. Programs and libraries are not
counted: all guests share their pages.

What an instance took is given back by the same figures: other ones need a migration that counts what hosts have
reserved anew, as `8d2f6a3b91c5` does.
"""

from typing import Final

_MIB: Final = 1 << 20
_QEMU: Final = 44 * _MIB  # with all the disks and interfaces that a guest may have: 0.6 MiB each
_TRANSLATED_CODE: Final = 32 * _MIB  # `tb-cache` of the agent's domain_xml.py
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
