"""What guests take of their hosts' memory."""

import pytest

from stead_agent.machines.domain_xml import _TB_CACHE_MIB
from stead_controller.placement import guest_memory
from stead_controller.placement.guest_memory import memory_of

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


def test_a_guest_takes_what_is_written() -> None:
    assert memory_of(256 * MIB, 1) == (256 + 1 + 44 + 32 + 1) * MIB
    assert memory_of(256 * MIB, 1, huge=True) == (44 + 32 + 1) * MIB
    assert memory_of(256 * MIB, 2, uefi=True, tpm=True) == (256 + 1 + 44 + 32 + 2 + 12 + 4) * MIB


def test_translated_code_is_as_much_as_agents_allow() -> None:
    assert guest_memory._TRANSLATED_CODE == _TB_CACHE_MIB * MIB
