"""Which of QEMU's files are taps, and what is refused to be one."""

import os
import socket

import pytest

from stead_agent.machines import taps
from stead_agent.machines.interface import MachineError

SHOWN = """net0: index=0,type=nic,model=virtio-net-pci,macaddr=0a:00:00:00:00:01\r
 \\ hostnet0: index=0,type=tap,fd=33\r
net1: index=0,type=nic,model=virtio-net-pci,macaddr=0a:00:00:00:00:02\r
net2: index=0,type=nic,model=virtio-net-pci,macaddr=0a:00:00:00:00:03\r
 \\ hostnet2: index=0,type=user,net=10.0.2.0,restrict=off\r
net3: index=0,type=nic,model=virtio-net-pci,macaddr=0a:00:00:00:00:04\r
 \\ hostnet3: index=0,type=tap,fd=7"""


def test_files_of_taps_are_found_by_the_nics_addresses() -> None:
    assert taps.numbers_of(SHOWN) == {"0a:00:00:00:00:01": 33, "0a:00:00:00:00:04": 7}
    assert taps.numbers_of("") == {}


def test_taps_that_are_there_are_not_missing() -> None:
    [(_, there), *_] = socket.if_nameindex()
    assert taps.missing({"a": there, "b": "stt-none"}) == {"b": "stt-none"}


def test_what_is_no_tap_is_left_alone() -> None:
    ours, other = os.pipe()
    with pytest.raises(MachineError, match="stt1 was not made anew: what QEMU has open is none"):
        taps._attach(ours, "stt1")
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(ours)
    os.close(other)


def test_of_a_guest_that_has_ended_nothing_is_asked() -> None:
    with pytest.raises(MachineError, match="has ended"):
        taps.make_anew(None, None, {})
