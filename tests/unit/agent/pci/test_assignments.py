"""Devices are bound to vfio-pci, reset and returned, also when the agent was killed at any step."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stead_agent.disks.disk_users import uid_of
from stead_agent.pci.assignments import Assignments
from stead_agent.pci.interface import PciError
from tests.support import sysfs
from tests.support.examples import examples

ONE = "i-0123456789abcdef0"
TWO = "i-0123456789abcdef1"
GPU = "0000:01:00.0"
SOUND = "0000:01:00.1"
NIC = "0000:02:00.0"


class KilledError(BaseException):
    """The agent was killed here."""


@pytest.fixture
def kernel(tmp_path):
    """A host with a GPU and its sound in one IOMMU group behind a bridge, and a network card."""
    made = sysfs.Kernel(tmp_path / "sys", tmp_path / "vfio")
    made.add("0000:00:01.0", model="8086:1901", class_code=0x060400, driver="pcieport", group=7)
    made.add(GPU, driver="nouveau", group=7)
    made.add(SOUND, model="10de:10f8", class_code=0x040300, driver="snd_hda_intel", group=7)
    made.add(NIC, model="8086:10d3", class_code=0x020000, driver="", group=8)
    return made


@pytest.fixture
def owners(monkeypatch):
    """Who owns which file, by its name: only root may change that."""
    found = {}
    monkeypatch.setattr(os, "chown", lambda path, uid, _gid: found.update({path.name: uid}))
    return found


def agent(kernel, named=("10de:1eb8", "10de:10f8", NIC), write=None):
    return Assignments(
        named,
        kernel.root.parent / "state" / "devices",
        sysfs=kernel.root,
        nodes=kernel.nodes,
        write=write or kernel.write,
    )


def drivers(kernel):
    return {address: kernel.driver(address) for address in (GPU, SOUND, NIC)}


OF_THE_HOST = {GPU: "nouveau", SOUND: "snd_hda_intel", NIC: ""}


def test_a_group_is_bound_reset_and_opened_for_the_guest_alone(kernel, owners):
    agent(kernel).assign(ONE, [GPU, SOUND])
    assert drivers(kernel) == {GPU: "vfio-pci", SOUND: "vfio-pci", NIC: ""}
    assert owners == {"7": uid_of(ONE)}
    assert (kernel.nodes / "7").stat().st_mode & 0o777 == 0o600
    assert kernel.driver("0000:00:01.0") == "pcieport"
    assert kernel.steps == [
        ("unbind nouveau", GPU),
        ("bind vfio-pci", GPU),
        ("unbind snd_hda_intel", SOUND),
        ("bind vfio-pci", SOUND),
        ("reset", GPU),
        ("reset", SOUND),
    ]


def test_what_it_had_is_reset_before_it_goes_back_to_the_drivers_of_the_host(kernel, owners):
    devices = agent(kernel)
    devices.assign(ONE, [GPU, SOUND])
    kernel.steps.clear()
    devices.release(ONE)
    assert drivers(kernel) == OF_THE_HOST
    assert kernel.steps[:2] == [("reset", GPU), ("reset", SOUND)]
    assert owners == {"7": 0}
    assert devices.holders() == frozenset()
    assert list((kernel.root.parent / "state/devices").iterdir()) == []
    overrides = kernel.root.glob("bus/pci/devices/*/driver_override")
    assert {path.read_text() for path in overrides} == {"(null)\n"}


def test_both_may_be_repeated_and_a_new_agent_knows_who_has_what(kernel, owners):
    for _ in range(2):
        agent(kernel).assign(ONE, [NIC])
    assert agent(kernel).holders() == {ONE}
    for _ in range(2):
        agent(kernel).release(ONE)
    assert (agent(kernel).holders(), drivers(kernel), owners) == (frozenset(), OF_THE_HOST, {"8": 0})


def test_a_device_is_reset_again_before_another_start_of_the_same_guest(kernel, owners):
    devices = agent(kernel)
    devices.assign(ONE, [NIC])
    kernel.steps.clear()
    devices.assign(ONE, [NIC])
    assert kernel.steps == [("reset", NIC)]


@pytest.mark.parametrize(
    ("addresses", "message"),
    [
        (["0000:00:01.0"], "guests may not have the device 0000:00:01.0: it is not named, or not there"),
        (["0000:09:00.0"], "guests may not have the device 0000:09:00.0: it is not named, or not there"),
        ([GPU], "0000:01:00.1 is of the same IOMMU group, 7: all of it or none"),
        ([NIC, GPU], "0000:01:00.1 is of the same IOMMU group, 7: all of it or none"),
    ],
)
def test_what_must_not_be_given_is_refused_and_nothing_changes(kernel, owners, addresses, message):
    devices = agent(kernel)
    with pytest.raises(PciError) as caught:
        devices.assign(ONE, addresses)
    assert str(caught.value) == message
    assert (kernel.steps, devices.holders(), owners) == ([], frozenset(), {})


def test_a_device_that_the_agent_cannot_give_is_refused_with_the_reason(kernel, owners):
    with pytest.raises(PciError, match=r"shares IOMMU group 7 with 0000:01:00\.1, which guests may not have"):
        agent(kernel, named=[GPU]).assign(ONE, [GPU])


def test_what_another_machine_has_is_not_given(kernel, owners):
    devices = agent(kernel)
    devices.assign(ONE, [NIC])
    with pytest.raises(PciError, match=f"{ONE} still has the device {NIC}"):
        devices.assign(TWO, [NIC])
    devices.release(TWO)
    assert (kernel.driver(NIC), owners) == ("vfio-pci", {"8": uid_of(ONE)})
    devices.release(ONE)
    devices.assign(TWO, [NIC])
    assert owners == {"8": uid_of(TWO)}


def test_a_host_without_vfio_says_so(kernel, owners):
    kernel.has_vfio = False
    devices = agent(kernel)
    with pytest.raises(PciError, match="was not bound to vfio-pci: is that module loaded"):
        devices.assign(ONE, [GPU, SOUND])
    devices.release(ONE)
    assert drivers(kernel) == OF_THE_HOST


def test_a_device_that_cannot_be_reset_stays_from_others_until_it_can(kernel, owners):
    devices = agent(kernel)
    devices.assign(ONE, [NIC])
    kernel.stuck.add(NIC)
    with pytest.raises(PciError, match=f"{NIC} could not be reset"):
        devices.release(ONE)
    assert (devices.holders(), kernel.driver(NIC)) == ({ONE}, "vfio-pci")
    kernel.stuck.clear()
    devices.release(ONE)
    assert (devices.holders(), kernel.driver(NIC)) == (frozenset(), "")


def test_a_device_of_the_host_again_after_its_reboot_is_not_reset_under_its_driver(kernel, owners):
    devices = agent(kernel)
    devices.assign(ONE, [GPU, SOUND])
    for address in (GPU, SOUND):  # as the kernel does when it boots: no override, drivers chosen anew
        kernel.write(kernel.root / "bus/pci/devices" / address / "driver_override", "\n")
        kernel.write(kernel.root / "bus/pci/devices" / address / "driver/unbind", address)
        kernel.write(kernel.root / "bus/pci/drivers_probe", address)
    kernel.steps.clear()
    devices.release(ONE)
    assert (kernel.steps, devices.holders(), drivers(kernel)) == ([], frozenset(), OF_THE_HOST)


def test_a_device_that_was_pulled_out_is_forgotten(kernel, owners):
    devices = agent(kernel)
    devices.assign(ONE, [NIC])
    for path in sorted((kernel.root / "bus/pci/devices" / NIC).iterdir()):
        path.unlink()
    devices.release(ONE)
    assert devices.holders() == frozenset()


@given(st.integers(0, 14), st.integers(0, 14))
@settings(max_examples=examples(20), deadline=None)
def test_killed_at_any_step_the_next_agent_finishes_it(tmp_path_factory, first, second):
    root = tmp_path_factory.mktemp("host")
    kernel = sysfs.Kernel(root / "sys", root / "vfio")
    kernel.add(GPU, driver="nouveau", group=7)
    kernel.add(SOUND, model="10de:10f8", class_code=0x040300, driver="snd_hda_intel", group=7)

    def killed_after(left):
        def write(path, text):
            nonlocal left
            if left == 0:
                raise KilledError
            left -= 1
            kernel.write(path, text)

        return write

    def attempt(name, *arguments, steps):
        try:
            getattr(agent(kernel, write=killed_after(steps)), name)(*arguments)
        except KilledError:
            getattr(agent(kernel), name)(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "chown", lambda *_: None)
        attempt("assign", ONE, [GPU, SOUND], steps=first)
        assert (kernel.driver(GPU), kernel.driver(SOUND)) == ("vfio-pci", "vfio-pci")
        assert agent(kernel).holders() == {ONE}
        attempt("release", ONE, steps=second)
    assert (kernel.driver(GPU), kernel.driver(SOUND)) == ("nouveau", "snd_hda_intel")
    assert agent(kernel).holders() == frozenset()
