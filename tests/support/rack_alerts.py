"""What the Prometheus of a rack says: whether it reads all pages, and whom its alerts wake when something is taken away."""

import json
import time
from collections.abc import Mapping
from typing import Any, Final

from tests.support.booted import Machine
from tests.support.waiting import wait_for

_ASKS: Final = (
    "import sys, urllib.request as u; print(u.urlopen('http://127.0.0.1:9090/api/v1/' + sys.argv[1]).read().decode())"
)


def _asked(prometheus: Machine, path: str) -> Any:
    """What its API answers; None where it does not."""
    done = prometheus.run("/usr/bin/python3", "-c", _ASKS, path)
    return json.loads(done.stdout)["data"] if done.returncode == 0 else None


def watched(prometheus: Machine, count: int) -> dict[str, str]:
    """What it says of each page, by its machine, once all of so many answer: `1`."""

    def ask() -> dict[str, str] | None:
        found = (_asked(prometheus, "query?query=up") or {"result": []})["result"]
        seen = {each["metric"]["machine"]: each["value"][1] for each in found}
        return seen if set(seen.values()) == {"1"} and len(seen) == count else None

    return wait_for(ask, "Prometheus reads the pages of all machines", 60)


def alerts(prometheus: Machine) -> set[tuple[str, str, str]]:
    """Its alerts: name, instance (empty: of all), and whether it is `pending` or `firing`."""
    found = wait_for(lambda: _asked(prometheus, "alerts"), "Prometheus answers", 60)
    labels = ((each["labels"], each["state"]) for each in found["alerts"])
    return {(of["alertname"], of.get("instance", ""), state) for of, state in labels}


def rings(prometheus: Machine, taken: Mapping[str, Machine], expected: set[tuple[str, str]]) -> float:
    """Stop units of machines until exactly these alerts wake somebody, by name and instance; start them, and all is quiet.

    Returns after how many seconds the last of them did.
    """
    wait_for(lambda: not alerts(prometheus), "it is quiet from the start", 120, poll=1)
    began = time.monotonic()
    for unit, machine in taken.items():
        machine.must("systemctl", "stop", unit)
    firing = {(*alert, "firing") for alert in expected}
    wait_for(lambda: alerts(prometheus) == firing, f"{sorted(expected)} wake somebody", 300, poll=1)
    took = time.monotonic() - began
    for unit, machine in taken.items():
        machine.must("systemctl", "start", unit)
    wait_for(lambda: not alerts(prometheus), "all is quiet again", 120, poll=1)
    return took
