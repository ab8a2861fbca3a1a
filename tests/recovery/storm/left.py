"""What is left of a storm when everything was deleted: on hosts, in their files and processes, and in the database."""

import re
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from stead_cli.rig_cloud import RigHost
from stead_cli.rig_plan import UNDERLAY, UPLINK
from tests.recovery.storm.faults import PROGRAMS
from tests.support import leaks, remains
from tests.support.rig import TestRig
from tests.support.waiting import wait_for

_OF_A_RESOURCE: Final = re.compile(r"\b(?:i|vol|snap|eni|vpc|ami)-[0-9a-f]{17}\b")
# What stays by design: bases for later guests of their images, for a while what was removed, and notes that it was.
_STAY: Final = tuple(("disks", each) for each in ("bases", "trash", "made"))
# One process each of a host, whatever is on it.
_ALWAYS: Final = ("libvirtd", "metadata")
_LINKS: Final = frozenset({UNDERLAY, UPLINK})


def look(rig: TestRig, before: Mapping[str, leaks.HostInventory], patience: float) -> list[str]:
    """Wait until nothing is left on any host, and name what is, then what is left in the database."""
    found: list[str] = []
    for host in rig.hosts:
        try:
            wait_for(partial(_is_bare, host, before[host.name]), "the host is bare", patience, poll=0.5)
        except AssertionError:
            found += [f"{host.name}: {each}" for each in on_host(host, before[host.name])]
    folder = rig.plan.cloud.controller_dir
    try:
        wait_for(lambda: not remains.rows_left(folder), "no row is left", patience, poll=0.5)
    except AssertionError:
        found += remains.rows_left(folder)
    return found


def _is_bare(host: RigHost, before: leaks.HostInventory) -> bool:
    return not on_host(host, before)


def on_host(host: RigHost, before: leaks.HostInventory) -> list[str]:
    """Name domains, processes, kernel objects and files that the host has and had not."""
    domains = [f"domain {name}" for name in host.place.run("virsh", "-q", "list", "--all", "--name").stdout.split()]
    processes = [
        f"process {name} {pid}"
        for name, words in PROGRAMS.items()
        if name not in _ALWAYS
        for pid in host.place.run("pgrep", *words).stdout.split()
    ]
    kernel = of_stead(leaks.take_inventory(host.place).beyond(before))
    return [*domains, *processes, *kernel, *files(host.settings.agent_dir)]


def of_stead(found: Iterable[str]) -> list[str]:
    """Leave out routes of the rig's own links: a host that was booted anew has others, with other link-local addresses."""
    return [each for each in found if not (each.startswith("routes: ") and _LINKS.intersection(each.split()))]


def files(folder: Path) -> list[str]:
    """Name the files and folders below an agent's that are named after a resource, but for those that stay by design."""
    return [
        f"file {path.relative_to(folder)}"
        for path in sorted(folder.rglob("*"))
        if _OF_A_RESOURCE.search(path.name) and path.relative_to(folder).parts[:2] not in _STAY
    ]
