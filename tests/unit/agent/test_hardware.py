"""Processors and memory nodes, of a tree as the kernel has it, and of this machine."""

import os

import pytest

from stead_agent import hardware
from stead_agent.hardware import Hardware, NumaNode

CPUINFO = """processor\t: 0
model name\t: Intel(R) Xeon(R) Gold 6338
flags\t\t: vmx fpu avx2

processor\t: 1
model name\t: another
flags\t\t: none
"""


@pytest.fixture
def root(tmp_path):
    """Two packages of one core with two threads each, and two memory nodes of which one has no threads."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(CPUINFO)
    for thread, (package, core) in enumerate([(0, 0), (1, 0), (0, 0), (1, 0)]):
        topology = tmp_path / f"sys/devices/system/cpu/cpu{thread}/topology"
        topology.mkdir(parents=True)
        (topology / "physical_package_id").write_text(f"{package}\n")
        (topology / "core_id").write_text(f"{core}\n")
    for number, (threads, memory) in {10: ("", 7), 2: ("0-3", 5)}.items():
        node = tmp_path / f"sys/devices/system/node/node{number}"
        node.mkdir(parents=True)
        (node / "cpulist").write_text(f"{threads}\n")
        (node / "meminfo").write_text(
            f"Node {number} MemFree: 1 kB\nNode {number} MemTotal:  {memory} kB\nNode {number} MemUsed: 2 kB\n"
        )
    (tmp_path / "sys/devices/system/node/online").write_text("2,10\n")
    return tmp_path


def test_what_the_kernel_tells(root):
    assert hardware.read(range(4), root) == Hardware(
        2,
        "Intel(R) Xeon(R) Gold 6338",
        ("avx2", "fpu", "vmx"),
        (NumaNode(2, "0-3", 5 * 1024), NumaNode(10, "", 7 * 1024)),
    )


def test_only_cores_of_threads_that_may_be_used_count(root):
    assert hardware.read([0, 2], root).cores == 1


def test_what_the_kernel_does_not_tell_is_not_made_up(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("")
    assert hardware.read([0], tmp_path) == Hardware()


def test_this_machine():
    found = hardware.read()
    assert 0 < found.cores <= len(os.sched_getaffinity(0))
    assert found.features
    assert all(node.memory >= 0 for node in found.nodes)
