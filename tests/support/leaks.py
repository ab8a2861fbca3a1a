"""What Stead leaves on a host: links, namespaces, routes, nft tables, guests, processes, mounts; before and after."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from stead_cli.rig_places import Place
from tests.support import box
from tests.support.waiting import wait_for

# Kernel names that Stead gives: stead_agent/network/interface.py and firewall/.
_LINK = re.compile(r"st[abgit][0-9a-f]{10,12}|stead\w*|vx[0-9a-f]{8,13}|vnet\d+")
_NAMESPACE = re.compile(r"vpc-")
_TABLE = re.compile(r"stead")
_TELLING = (b"guest=", b"--conf-file=", b"--state-dir=", b"--socket=", b"--pidfile=")
_PROGRAM = re.compile(r"(?:^|/)(qemu-system-\w+|dnsmasq|qemu-nbd|qemu-storage-daemon|stead-agent|stead-controller)$")


type Run = Callable[..., "subprocess.CompletedProcess[str]"]


@dataclass(frozen=True)
class HostPicture:
    """Everything on this host that looks like Stead's."""

    links: frozenset[str]
    namespaces: frozenset[str]
    routes: frozenset[str]
    rules: frozenset[str]
    nft_tables: frozenset[str]
    processes: frozenset[str]
    mounts: frozenset[str]

    def beyond(self, before: "HostPicture") -> list[str]:
        """Name what is here and was not there before."""
        return [
            f"{field.name}: {thing}"
            for field in fields(self)
            for thing in sorted(getattr(self, field.name) - getattr(before, field.name))
        ]


def take_picture(place: Place | None = None) -> HostPicture:
    """Look at this host, or at one of a rig, whose processes are seen from here; needs root to see nft tables."""
    run = _run_here if place is None else place.run
    links = {link["ifname"] for link in _json(run, "ip", "-j", "link", "show")}
    return HostPicture(
        links=frozenset(name for name in links if _LINK.fullmatch(name)),
        namespaces=frozenset(name for name in _names(run) if _NAMESPACE.match(name)),
        routes=frozenset(_route(route) for route in _json(run, "ip", "-j", "route", "show", "table", "all")),
        rules=frozenset(json.dumps(rule, sort_keys=True) for rule in _json(run, "ip", "-j", "rule", "show")),
        nft_tables=_nft_tables(run),
        processes=_processes() if place is None else frozenset(),
        mounts=frozenset(
            mount
            for mount in _mount_points(run)
            if "/vpc-" in mount or "/nat-" in mount or mount.startswith("/var/lib/stead/")
        ),
    )


def assert_nothing_beyond(before: HostPicture, what: str, seconds: float = 10.0, place: Place | None = None) -> None:
    """Fail, naming them, when things are left that were not there before; what is on its way out may take its time."""
    try:
        wait_for(lambda: not take_picture(place).beyond(before), "nothing is left", seconds, poll=0.1)
    except AssertionError:
        left = take_picture(place).beyond(before)
        if left:
            raise AssertionError(
                f"{what} left on {place.name if place else 'this host'}:\n  " + "\n  ".join(left)
            ) from None


def _run_here(*command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def _output(run: Run, *command: str) -> str:
    done = run(*command)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def _json(run: Run, *command: str) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = json.loads(_output(run, *command) or "[]")
    return shown


def _route(route: dict[str, Any]) -> str:
    """A route by what tells it from others; addresses of links that only tests make are no concern of ours."""
    parts = (route.get("type", ""), route.get("dst", ""), route.get("dev", ""), route.get("table", ""))
    return " ".join(str(part) for part in parts if part)


def _names(run: Run) -> list[str]:
    return run("ls", "/run/netns").stdout.split()  # nothing where there is no such folder


def _nft_tables(run: Run) -> frozenset[str]:
    listed = json.loads(_output(run, "nft", "-j", "list", "tables"))
    tables = [item["table"] for item in listed["nftables"] if "table" in item]
    return frozenset(f"{table['family']} {table['name']}" for table in tables if _TABLE.search(table["name"]))


def _processes() -> frozenset[str]:
    """Programs that outlive the agent, and our own, with what tells one from another; zombies do not count."""
    found = set()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or not box.ours(folder.name):
            continue
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # it ended while we looked
        program = os.fsdecode(words[0])
        if b"stead_agent.metadata" in words:
            found.add(f"stead_agent.metadata {os.fsdecode(words[-3])}")  # its folder; after it come its state and ""
            continue
        if len(words) > 2 and "python" in program:
            program = os.fsdecode(words[1])
        if name := _PROGRAM.search(program):
            # Not the process id: a program that was killed and started again is no leak.
            telling = [os.fsdecode(word) for word in words if word.startswith(_TELLING)]
            found.add(f"{name[1]} {' '.join(telling)}")
    return frozenset(found)


def _mount_points(run: Run) -> list[str]:
    return [line.split()[4] for line in _output(run, "cat", "/proc/self/mountinfo").splitlines()]
