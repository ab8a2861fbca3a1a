"""Which tests must run in the same process, with several of them (`--numprocesses`, pytest-xdist), and the order."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from xdist.scheduler import LoadScopeScheduling

_RIG = (
    "test_ceph_takeover.py",
    "test_multi_host.py",
    "test_multi_host_routes.py",
    "test_rig.py",
    "test_snapshots.py",
    "test_volumes_across_hosts.py",
)
# Clouds in boxes of their own.
_OWN = (
    "test_benches.py",
    "test_bill_of_a_rig.py",
    "test_rack.py",
    "test_readme.py",
    "test_recover.py",
    "test_rig_life.py",
    "test_systemd.py",
    "test_up_down.py",
    "test_up_with_postgresql.py",
)
_LONG = ("tests/recovery/storm/test_storm.py",)  # with guests, though not in a folder of such tests
# These wait for their clients' pauses most of the time: less than a quarter of a processor is in use.
_WAITING: Final = (*(f"tests/clients/test_{client}.py" for client in ("machines", "terraform")), "host/metrics")
_TOOLS: Final = "tests/house/test_tools.py"  # waits for programs; the other house tests read all files of the checkout
_FEW: Final = 3
_LIGHT: Final = ("gw2", "gw3", "gw4")  # all but two, as pytest-xdist names them
_NO_LIBVIRTD: Final = "test_libvirtd.py"  # needs a process in which the cloud has not started the system's libvirtd
_RANKS = (  # longer ones first, so that no process is left with one at the end
    "house",
    "cloud",
    "host/machines",
    "rig",
    "clients",
    "tests/e2e/test_rack.py",
    "host/network",
    "tests/e2e/test_bill_of_a_rig.py",
    "host/object_store",
    "tests/e2e/test_benches.py",
    "tests/e2e/test_readme.py",
    "e2e",
    "host/volumes",
    "host/firewall",
    "host",
)


def share_of(test: str) -> str:
    """Return the share (group) of a test, by its id: its file, for any process, unless it is in a larger one.

    Tests of one of the host's subsystems have programs and guests in common. A rig, a cloud with real guests and the
    syntax trees of all files are expensive, and made once for all tests that use them.
    """
    file = test.partition("::")[0]
    folder, _, name = file.removeprefix("tests/").partition("/")
    if folder == "host":
        return "host/machines" if name == _NO_LIBVIRTD else f"host/{name.partition('/')[0]}"
    if folder == "house" and file != _TOOLS:
        return folder
    if folder != "e2e" or name in _OWN:
        return file
    return "rig" if name in _RIG else "cloud"


def rank_of(test: str) -> int:
    """Return the position of a test in the order, by its id: smaller is earlier.

    Long tests that cannot be divided come before short ones: a process that is done with the former takes the latter,
    so that all processes end together.
    """
    share = share_of(test)
    folder = "e2e" if share in _LONG else share.removeprefix("tests/").partition("/")[0]
    name = share if share in _RANKS else folder
    return _RANKS.index(name) if name in _RANKS else len(_RANKS)


def is_over(test: str, following: str) -> bool:
    """Tell whether a test, by its id, is the last of its share in this process, by that of the next; empty if it is unknown."""
    return share_of(test) != share_of(following)


def is_light(worker: str) -> bool:
    """Tell whether a process, by its name, runs first short tests and those that wait, at a lower priority.

    It uses the idle time of the processors, which tests that wait for guests and the kernel leave.
    """
    return worker in _LIGHT


def choose(waiting: Iterable[str], worker: str, hindrance: str = "") -> str | None:
    """Return the next share for a process, of the shares that wait, in their order; None if there is none.

    A light process takes the others when nothing light waits any more. Behind a `hindrance` a share waits until that is
    done: the last, a small one, can.
    """
    shares = list(waiting)
    if hindrance:
        return next(
            (share for share in reversed(shares) if rank_of(share) == len(_RANKS)), shares[-1] if shares else None
        )
    light = (share for share in shares if rank_of(share) in (0, len(_RANKS)) or share in _WAITING)
    return next(light if is_light(worker) else iter(()), next(iter(shares), None))


def hindering(begun: Mapping[str, Mapping[str, bool]]) -> str:
    """Return the share behind which the next one waits long, of those of a process and which of their tests are done.

    pytest-xdist asks for the next share two tests before the end. Of a share with many tests these are no longer than
    others; one that has no more was just begun.
    """
    under_way = (share for share, tests in begun.items() if len(tests) <= _FEW and not all(tests.values()))
    return next((share for share in under_way if rank_of(share) < len(_RANKS)), "")


class Shares(LoadScopeScheduling):  # type: ignore[misc]  # pytest-xdist has no types
    """Assigns shares in the order in which their first tests were collected; light processes get light ones first."""

    def _split_scope(self, nodeid: str) -> str:
        return share_of(nodeid)

    def _assign_work_unit(self, node: Any) -> None:
        chosen = choose(self.workqueue, node.gateway.id, hindering(self.assigned_work.get(node, {})))
        self.workqueue.move_to_end(chosen, last=False)
        super()._assign_work_unit(node)
