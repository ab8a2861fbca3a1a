"""Which tests one process must have all of, when several share the work (`--numprocesses`, pytest-xdist)."""

from xdist.scheduler import LoadScopeScheduling

_RIG = (
    "test_multi_host.py",
    "test_multi_host_routes.py",
    "test_rig.py",
    "test_snapshots.py",
    "test_volumes_across_hosts.py",
)
_OWN = ("test_host_reboot.py", "test_systemd.py")


def share_of(test: str) -> str:
    """Name the share of a test, by its id: what is in none is a share by itself, for whoever has time.

    Tests of the host are many and short, and their worlds sit on one processor anyway. A rig and a cloud with real guests
    are expensive, and made once for all tests that look at them.
    """
    folder, _, name = test.partition("::")[0].removeprefix("tests/").partition("/")
    if folder == "host":
        return "host"
    if folder != "e2e" or name in _OWN:
        return test
    return "rig" if name in _RIG else "cloud"


class Shares(LoadScopeScheduling):  # type: ignore[misc]  # pytest-xdist has no types
    """Gives out shares in the order in which their first tests were collected: the fast ones first."""

    def _split_scope(self, nodeid: str) -> str:
        return share_of(nodeid)
