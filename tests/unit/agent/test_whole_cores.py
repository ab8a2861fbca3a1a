"""Which threads are set apart: whole cores alone, and never all of a host; and what `stead doctor` says of them."""

import pytest

from stead_agent import doctor, hardware
from stead_agent.hardware import Core
from stead_agent.whole_cores import Division, WholeCoresError, divide


@pytest.fixture
def root(tmp_path):
    """Four cores of two threads in two memory nodes, of which node 1 has five huge pages, and a thread of no known core."""
    system = tmp_path / "sys/devices/system"
    for thread in range(8):
        topology = system / f"cpu/cpu{thread}/topology"
        topology.mkdir(parents=True)
        core = thread % 4
        (topology / "thread_siblings_list").write_text(f"{core},{core + 4}\n")
        (topology / "physical_package_id").write_text("0\n")
        (topology / "core_id").write_text(f"{core}\n")
    (system / "cpu/online").write_text("0-8\n")
    for number, threads in enumerate(["0-1,4-5", "2-3,6-7"]):
        node = system / f"node/node{number}"
        node.mkdir(parents=True)
        (node / "cpulist").write_text(f"{threads}\n")
        (node / "meminfo").write_text(f"Node {number} MemTotal: 8 kB\n")
    pages = system / "node/node1/hugepages/hugepages-2048kB"
    pages.mkdir(parents=True)
    (pages / "nr_hugepages").write_text("5\n")
    (pages / "free_hugepages").write_text("3\n")
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("")
    return tmp_path


def test_nothing_is_set_apart_unless_it_is_named(root):
    division = divide((), range(8), root)
    assert division == Division(tuple(range(8)))
    assert division.limit == ""


def test_named_cores_are_set_apart_with_all_their_threads(root):
    division = divide({1, 5, 2, 6}, range(8), root)
    assert division == Division((0, 3, 4, 7), (Core((1, 5), 0), Core((2, 6), 1)))
    assert division.limit == "0,3,4,7"
    assert [core.number for core in division.cores] == [1, 2]


def test_threads_that_the_kernel_isolates_can_be_named(root):
    assert divide({3, 7}, [0, 4], root) == Division((0, 4), (Core((3, 7), 1),))


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({1}, "the threads 1, 5 are of one core: name all of them or none"),
        ({1, 5, 9}, "this host has no hardware thread 9"),
        (set(range(8)), "a core at least must be left"),
        ({8}, "of which core and memory node"),
    ],
)
def test_what_cannot_be_set_apart_is_refused(root, named, words):
    with pytest.raises(WholeCoresError, match=words):
        divide(named, range(8), root)


def test_huge_pages_are_those_of_their_node(root):
    assert [node.huge_pages for node in hardware.read([0], root).nodes] == [0, 5]
    assert (hardware.free_huge_pages(0, root), hardware.free_huge_pages(1, root)) == (0, 3)


@pytest.mark.parametrize(
    ("text", "threads"), [("", ()), ("3", (3,)), ("2-4,0", (0, 2, 3, 4)), (" 1,1 \n", (1,))], ids=repr
)
def test_lists_of_threads_are_read_as_the_kernel_writes_them(text, threads):
    assert hardware.parse_threads(text) == threads


@pytest.mark.parametrize("text", ["a", "-1", "3-1", "1-", "1;2", "²"])
def test_what_is_no_list_of_threads_is_refused(text):
    with pytest.raises(ValueError, match="no list of hardware threads"):
        hardware.parse_threads(text)


def test_what_the_doctor_says(root):
    def said(named):
        return [(found.name, found.status, found.detail) for found in doctor.whole_core_checks(named, root)]

    assert said(()) == []
    assert said({2, 6}) == [
        ("whole cores", "ok", "1 in memory nodes 1"),
        ("huge pages", "ok", "5 in node 1, of 2 MiB"),
    ]
    [(name, status, detail)] = said({2})
    assert (name, status) == ("whole cores", "failed")
    assert "name all of them or none" in detail
