"""Which tests one process must have all of, when several share the work (`--numprocesses`, pytest-xdist), and in what order."""

from collections.abc import Iterable
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
_OWN = ("test_host_reboot.py", "test_rig_life.py", "test_systemd.py", "test_up_down.py")  # clouds in boxes of their own
_LONG = ("tests/recovery/storm/test_storm.py",)  # with guests, though not in a folder of such tests
_TOOLS: Final = "tests/house/test_tools.py"  # waits for programs, the other house tests read all files of the checkout
_LIGHT: Final = "gw2"  # as pytest-xdist names the third process
_TURNS = ("house", "cloud", "host", "rig", "clients", "e2e")


def share_of(test: str) -> str:
    """Name the share of a test, by its id: its file, for whoever has time, unless it is in a larger one.

    Tests of the host are many and short, and their worlds sit on one processor anyway. A rig, a cloud with real guests and
    the syntax trees of all files are expensive, and made once for all tests that look at them.
    """
    file = test.partition("::")[0]
    folder, _, name = file.removeprefix("tests/").partition("/")
    if folder == "host" or (folder == "house" and file != _TOOLS):
        return folder
    if folder != "e2e" or name in _OWN:
        return file
    return "rig" if name in _RIG else "cloud"


def turn_of(test: str) -> int:
    """Say when it is a test's turn, by its id: the smaller the earlier.

    What is long and cannot be shared comes before what is short: who is done with the former takes of the latter, so that
    all processes end at once. Tests that boot guests are for the processors, those of the host wait for the kernel: they go
    well together.
    """
    share = share_of(test)
    folder = "e2e" if share in _LONG else share.removeprefix("tests/").partition("/")[0]
    return _TURNS.index(folder) if folder in _TURNS else len(_TURNS)


def is_light(worker: str) -> bool:
    """Tell whether a process, by its name, has tests alone that are not long, and runs at a lower priority.

    It is there for the processors' idle moments, of which those who wait for guests and the kernel leave enough.
    """
    return worker == _LIGHT


def choose(waiting: Iterable[str], worker: str) -> str | None:
    """Name the share that a process has next, of those that nobody has yet, in the order of their turns."""
    for share in waiting:
        if not is_light(worker) or turn_of(share) in (0, len(_TURNS)):
            return share
    return None


class Shares(LoadScopeScheduling):  # type: ignore[misc]  # pytest-xdist has no types
    """Gives out shares in the order in which their first tests were collected, but to the light process small ones alone."""

    def _split_scope(self, nodeid: str) -> str:
        return share_of(nodeid)

    def _reschedule(self, node: Any) -> None:
        if self.workqueue and choose(self.workqueue, node.gateway.id) is None:
            node.shutdown()  # once it has done what it was given
        else:
            super()._reschedule(node)

    def _assign_work_unit(self, node: Any) -> None:
        chosen = choose(self.workqueue, node.gateway.id) or next(iter(self.workqueue))
        self.workqueue.move_to_end(chosen, last=False)
        super()._assign_work_unit(node)
