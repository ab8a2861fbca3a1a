"""Which PCI devices guests may have: by their operator's word, and by the rules of IOMMU groups."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_agent.pci.grants import grants
from stead_agent.pci.inventory import PciDevice

GPU = PciDevice("0000:01:00.0", "10de:1eb8", 0x030200, 7, reset="bus")
SOUND = PciDevice("0000:01:00.1", "10de:10f8", 0x040300, 7, reset="flr")
BRIDGE = PciDevice("0000:00:01.0", "8086:1901", 0x060400, 7)


def refusals(devices, named):
    return {found.device.address: found.refusal for found in grants(devices, named)}


@pytest.mark.parametrize("named", [["0000:01:00.0"], ["10de:1eb8"]])
def test_a_device_is_named_by_address_or_model(named):
    assert refusals([GPU, replace(GPU, address="0000:02:00.0", model="10de:2237", iommu_group=8)], named) == {
        "0000:01:00.0": ""
    }


def test_nothing_is_given_away_that_nobody_named():
    assert grants([GPU, SOUND], []) == []


def test_a_bridge_in_the_group_stays_with_the_host():
    assert refusals([BRIDGE, GPU], [GPU.model]) == {GPU.address: ""}


def test_others_of_the_group_must_be_named_too():
    (refusal,) = refusals([GPU, SOUND], [GPU.model]).values()
    assert refusal == "it shares IOMMU group 7 with 0000:01:00.1, which guests may not have"
    assert refusals([GPU, SOUND], [GPU.model, SOUND.address]) == {GPU.address: "", SOUND.address: ""}


def test_another_of_the_group_that_cannot_be_reset_keeps_all_of_it_back():
    stuck = replace(SOUND, reset="")
    assert refusals([GPU, stuck], [GPU.model, SOUND.model]) == {
        GPU.address: "it shares IOMMU group 7 with 0000:01:00.1: the kernel cannot reset it between guests",
        SOUND.address: "the kernel cannot reset it between guests",
    }


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"iommu_group": None}, "it has no IOMMU group: the IOMMU is off"),
        ({"reset": ""}, "the kernel cannot reset it between guests"),
        ({"class_code": 0x060400}, "it is a bridge"),
    ],
)
def test_what_a_device_itself_lacks(changes, refusal):
    assert refusals([replace(GPU, **changes)], [GPU.model]) == {GPU.address: refusal}


@st.composite
def _hosts(draw):
    """Draw devices in groups, and which are named."""
    devices = [
        PciDevice(
            f"0000:{number:02x}:00.0",
            draw(st.sampled_from(["10de:0001", "10de:0002", "8086:0003"])),
            draw(st.sampled_from([0x030200, 0x020000, 0x060400])),
            draw(st.sampled_from([None, 1, 2, 3])),
            reset=draw(st.sampled_from(["", "flr"])),
        )
        for number in range(draw(st.integers(0, 8)))
    ]
    names = sorted({name for device in devices for name in (device.address, device.model)})
    return devices, draw(st.lists(st.sampled_from(names), unique=True)) if names else []


@given(_hosts())
def test_a_group_is_given_whole_or_not_at_all(host):
    devices, named = host
    can = {found.device.address for found in grants(devices, named) if not found.refusal}
    for device in devices:
        group = {
            other.address
            for other in devices
            if other.iommu_group == device.iommu_group is not None and not other.is_bridge
        }
        may = not device.is_bridge and all(
            other.reset and (other.address in named or other.model in named)
            for other in devices
            if other.address in group
        )
        assert (device.address in can) == (may and device.iommu_group is not None)
        assert not group & can or group <= can
