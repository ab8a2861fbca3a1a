"""Which tests stay together when several processes share them, and which come first."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support import fixtures
from tests.support.shares import choose, hindering, rank_of, share_of

E2E = Path(__file__).parents[2] / "e2e"
HOUSE = E2E.parent / "house"
_ON_A_RIG = re.compile(r"^(?:def test_|@pytest\.fixture).*\n?.*\b(?:rig|session_rig|street)\b: ", re.MULTILINE)


def test_who_uses_the_rig_has_it_to_itself():
    """A rig that another process made as well would cost half a minute and a third of the memory."""
    users = {path.name for path in E2E.glob("test_*.py") if _ON_A_RIG.search(path.read_text())}
    assert len(users) > 3
    assert {share_of(f"tests/e2e/{name}::test_it") for name in users} == {"rig"}


def test_a_file_is_not_split():
    assert share_of("tests/unit/agent/programs/test_run.py::test_it[a::b]") == "tests/unit/agent/programs/test_run.py"
    assert share_of("tests/e2e/test_systemd.py::test_it") == "tests/e2e/test_systemd.py"
    assert (
        share_of("tests/host/dhcp/test_dns.py::test_it")
        == share_of("tests/host/dhcp/test_dhcp.py::test_a")
        == "host/dhcp"
    )
    assert share_of("tests/host/test_full_disk.py::test_it") == "host/test_full_disk.py"
    assert share_of("tests/host/test_libvirtd.py::test_it") == "host/machines"


def test_the_syntax_trees_of_the_checkout_are_made_once():
    """Each process that has them takes five seconds for it; the tools that are programs wait meanwhile."""
    files = {path.name for path in HOUSE.glob("test_*.py")}
    assert {name for name in files if share_of(f"tests/house/{name}::test_it") != "house"} == {"test_tools.py"}


def test_what_is_long_comes_first():
    tests = (
        "house/test_sizes.py",
        "e2e/test_demo.py",
        "host/machines/running_guest/test_disks.py",
        "e2e/test_rig.py",
        "clients/test_ansible.py",
        "e2e/test_systemd.py",
        "host/volumes/test_lvm.py",
        "host/dhcp/test_dns.py",
    )
    ranks = [rank_of(f"tests/{name}::test_it") for name in (*tests, "unit/agent/programs/test_run.py")]
    assert ranks == sorted(set(ranks))
    assert rank_of("tests/api/test_tags.py::test_it") == ranks[-1]
    assert rank_of("tests/recovery/storm/test_storm.py::test_it") == ranks[5]


def test_the_light_process_has_small_shares_first():
    waiting = ["cloud", "tests/e2e/test_systemd.py", "tests/unit/agent/programs/test_run.py", "house"]
    assert choose(waiting, "gw0") == choose(waiting, "gw1") == "cloud"
    assert (
        choose(waiting, "gw2")
        == choose(waiting, "gw3")
        == choose(waiting, "gw4")
        == "tests/unit/agent/programs/test_run.py"
    )
    assert choose(waiting[:2], "gw2") == "cloud"
    assert choose([], "gw2") is choose([], "gw0") is None
    assert choose(waiting[3:], "gw2") == "house"


def test_the_light_process_runs_what_waits_for_a_client():
    waiting = ["cloud", "tests/clients/test_ansible.py", "tests/clients/test_terraform.py"]
    assert choose(waiting, "gw2") == "tests/clients/test_terraform.py"
    assert choose(waiting, "gw0") == "cloud"


def test_nothing_that_others_could_run_waits_behind_a_long_one():
    waiting = ["host/object_store", "tests/unit/agent/test_a.py", "tests/unit/agent/test_b.py", "host/test_release.py"]
    long = "tests/e2e/test_bill_of_a_rig.py"
    for worker in ("gw0", "gw4"):
        assert choose(waiting, worker, long) == "tests/unit/agent/test_b.py"
        assert choose([waiting[0], waiting[3]], worker, long) == "host/test_release.py"
        assert choose([], worker, long) is None
    assert choose(waiting, "gw0") == "host/object_store"


def test_behind_many_tests_the_longest_that_waits_is_next():
    done = {"tests/e2e/test_readme.py": {"a": True}}
    few, many = {"a": True, "b": False, "c": False}, {"a": True, "b": True, "c": False, "d": False}
    assert hindering(done | {"tests/clients/test_terraform.py": few}) == "tests/clients/test_terraform.py"
    assert hindering(done | {"cloud": many}) == hindering(done) == hindering({}) == ""
    assert hindering(done | {"tests/unit/agent/test_c.py": few}) == ""
    assert hindering({"cloud": many, "tests/e2e/test_rack.py": {"a": False}}) == "tests/e2e/test_rack.py"


@pytest.mark.parametrize(
    ("following", "ended"),
    [
        ("tests/e2e/test_volumes.py::test_b", []),
        ("tests/e2e/test_rig.py::test_it", [*fixtures._OF_ONE_SHARE]),
        ("tests/unit/agent/test_a.py::test_it", [*fixtures._OF_ONE_SHARE]),
    ],
)
def test_what_is_of_one_share_ends_with_it(following, ended):
    """But not where one process runs all tests, in the order of their files."""
    found = []

    def made(name, item):
        return [SimpleNamespace(finish=lambda request: found.append(name))]

    session = SimpleNamespace(_fixturemanager=SimpleNamespace(getfixturedefs=made))
    last = SimpleNamespace(
        nodeid="tests/e2e/test_net.py::test_a", session=session, config=SimpleNamespace(workerinput={}), _request=None
    )
    fixtures.pytest_runtest_teardown(last, SimpleNamespace(nodeid=following))
    fixtures.pytest_runtest_teardown(last, None)  # pytest has ended all by then
    assert found == ended
    last.config = SimpleNamespace()
    fixtures.pytest_runtest_teardown(last, SimpleNamespace(nodeid=following))
    assert found == ended
