"""The micro guest waits for its network and the metadata service: often at first, and seldom where neither is there."""

import re
import subprocess

from tests.house.checkout import ROOT

_TEXT = (ROOT / "images/micro/rootfs/usr/lib/stead/instance").read_text(encoding="utf-8")
_WAITING = re.search(r"^pause=.*?^}$", _TEXT, re.MULTILINE | re.DOTALL)


def pauses(tries: int) -> list[int]:
    """The pauses, in microseconds, before something comes true at the last of so many tries."""
    assert _WAITING, "wait_until is no longer in the script"
    script = f"""
        usleep() {{ echo "$1"; }}
        tries=0
        comes_true() {{ tries=$((tries + 1)); [ $tries -gt {tries} ]; }}
        {_WAITING[0]}
        wait_until 60 comes_true
    """
    done = subprocess.run(["busybox", "sh", "-c", script], capture_output=True, text=True, timeout=60, check=True)
    return [int(line) for line in done.stdout.split()]


def test_what_comes_at_once_is_noticed_at_once_and_what_does_not_come_costs_little():
    waited = pauses(60)
    assert waited[0] == 20_000
    assert sum(waited[:10]) < 400_000
    assert waited == sorted(waited)
    assert 500_000 <= waited[-1] < 600_000
    for number, pause in enumerate(waited[1:], 1):
        assert pause < 20_000 + sum(waited[:number]) / 4  # so that nothing is noticed much too late
