"""What guests take of their hosts' memory."""

import pytest

from stead_agent.machines.domain_xml import TB_CACHE_MIB, tb_cache_mib
from stead_controller.placement import guest_memory
from stead_controller.placement.guest_memory import kept_for_emulation, memory_of

MIB = 1 << 20
SMALL = {"memory": 96 * MIB, "vcpus": 1}


@pytest.mark.parametrize(
    ("more", "measured"),
    [
        ({}, 60.8 + 0.6),
        ({"memory": 256 * MIB}, 59.5 + 0.9),
        ({"memory": 2048 * MIB}, 58.9 + 2.7),
        ({"vcpus": 2}, 60.0 + 0.9),
        ({"uefi": True}, 67.2 + 1.0),
        ({"uefi": True, "tpm": True}, 65.9 + 1.0 + 1.3),
    ],
    ids=str,
)
def test_it_is_more_than_was_measured_with_one_disk(more: dict[str, int], measured: float) -> None:
    """The figures of docs/budgets.md; there may be 26 disks and interfaces more, of 0.6 MiB each."""
    guest = SMALL | more
    beside = (memory_of(**guest) - guest["memory"]) / MIB
    assert measured + 26 * 0.6 <= beside <= 1.5 * measured


@pytest.mark.parametrize(
    ("more", "measured"),
    [
        ({}, 101.1 + 0.7),
        ({"memory": 256 * MIB}, 100.3 + 0.9),
        ({"memory": 2048 * MIB}, 104.9 + 3.5),
        ({"memory": 256 * MIB, "vcpus": 2}, 104.8 + 1.0),
        ({"memory": 256 * MIB, "vcpus": 8}, 106.9 + 1.1),
        ({"memory": 256 * MIB, "uefi": True}, 123.4 + 1.1),
        ({"memory": 256 * MIB, "uefi": True, "tpm": True}, 123.5 + 1.1 + 1.3),
    ],
    ids=str,
)
def test_so_it_is_with_what_is_kept_for_emulation(more: dict[str, int], measured: float) -> None:
    """The figures of docs/budgets.md without KVM; the host is no larger than the guest."""
    guest = SMALL | more
    taken = memory_of(**guest)
    kept = kept_for_emulation(guest["vcpus"], taken * 4 // 3)
    assert measured + 26 * 0.6 <= (taken + kept - guest["memory"]) / MIB


def test_a_guest_takes_what_is_written() -> None:
    assert memory_of(256 * MIB, 1) == (256 + 1 + 44 + 32 + 1) * MIB
    assert memory_of(256 * MIB, 1, huge=True) == (44 + 32 + 1) * MIB
    assert memory_of(256 * MIB, 2, uefi=True, tpm=True) == (256 + 1 + 44 + 32 + 2 + 12 + 4) * MIB


def test_translated_code_is_as_much_as_agents_allow() -> None:
    assert guest_memory._TRANSLATED_CODE == TB_CACHE_MIB * MIB


@pytest.mark.parametrize(
    ("vcpus", "memory", "kept"),
    [(8, 64 * 1024, 512), (8, 1024, 256), (0, 1024, 0), (8, -1024, 0)],
)
def test_a_host_without_kvm_keeps_memory_for_each_vcpu_and_a_quarter_at_most(
    vcpus: int, memory: int, kept: int
) -> None:
    assert kept_for_emulation(vcpus, memory * MIB) == kept * MIB


@pytest.mark.parametrize("mib", [16, 96, 512, 4096])
@pytest.mark.parametrize("vcpus", [1, 2, 8])
@pytest.mark.parametrize("host", [(4, 1024), (40, 4096), (256, 1 << 18)], ids=str)
def test_what_a_host_without_kvm_keeps_is_enough_for_all_guests_that_fit(
    mib: int, vcpus: int, host: tuple[int, int]
) -> None:
    """Be it vCPUs or memory that are used up; each MiB of code costs QEMU at most a fifth more (docs/budgets.md)."""
    cpus_offered, memory = host[0], host[1] * MIB
    kept = kept_for_emulation(cpus_offered, memory)
    guests = min(cpus_offered // vcpus, (memory - kept) // memory_of(mib * MIB, vcpus))
    assert guests * (tb_cache_mib(mib * MIB, vcpus) - TB_CACHE_MIB) * MIB * 6 / 5 <= kept
