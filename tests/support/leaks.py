"""The leak check: compare links, namespaces, routes, nft tables, guests, processes and mounts before and after."""

import json
import os
import re
import subprocess
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from stead_cli.rig_places import RigPlace
from tests.support import box
from tests.support.waiting import wait_for

# Names that Stead gives to kernel objects: stead_agent/network/interface.py and firewall/.
_LINK = re.compile(r"st[abginot][0-9a-f]{10,12}|stead\w*|vx[0-9a-f]{8,13}|vnet\d+")
_NAMESPACE = re.compile(r"(vpce?|nat|eni)-")
_TABLE = re.compile(r"stead")
_TELLING = (b"guest=", b"--conf-file=", b"--state-dir=", b"--socket=", b"--pidfile=")
_PROGRAM = re.compile(r"(?:^|/)(qemu-system-\w+|dnsmasq|qemu-nbd|qemu-storage-daemon|stead-agent|stead-controller)$")


# All commands of `take_inventory`, run by one shell: entering a host of a rig takes longer than all of them.
_QUESTIONS = (
    "ip -j link show",
    "ip -j route show table all",
    "ip -j rule show",
    "nft -j list tables",
    "ls /run/netns 2>/dev/null || :",  # no output if there is no such folder
    "cat /proc/self/mountinfo",
)
_BETWEEN = "\n====\n"
_SCRIPT = "; printf '\\n====\\n'; ".join(f"{{ {question}; }} || exit" for question in _QUESTIONS)


@dataclass(frozen=True)
class HostInventory:
    """Everything on this host that looks like Stead's."""

    links: frozenset[str]
    namespaces: frozenset[str]
    routes: frozenset[str]
    rules: frozenset[str]
    nft_tables: frozenset[str]
    processes: frozenset[str]
    mounts: frozenset[str]

    def beyond(self, before: "HostInventory") -> list[str]:
        """List what is here and was not there before."""
        return [
            f"{field.name}: {thing}"
            for field in fields(self)
            for thing in sorted(getattr(self, field.name) - getattr(before, field.name))
        ]


def take_inventory(place: RigPlace | None = None) -> HostInventory:
    """Inspect this host, or one of a rig, whose processes are visible from here; needs root to see nft tables."""
    ask = _run_here if place is None else place.run
    done = ask("sh", "-c", _SCRIPT)
    assert done.returncode == 0, done.stderr
    links, routes, rules, tables, names, mounts = done.stdout.split(_BETWEEN)
    return HostInventory(
        links=frozenset(link["ifname"] for link in _read(links) if is_our_link(link["ifname"])),
        namespaces=frozenset(name for name in names.split() if _NAMESPACE.match(name)),
        routes=frozenset(_route(route) for route in _read(routes) if not is_link_local(route)),
        rules=frozenset(json.dumps(rule, sort_keys=True) for rule in _read(rules)),
        nft_tables=_nft_tables(tables),
        processes=_processes() if place is None else frozenset(),
        mounts=frozenset(
            mount
            for mount in (line.split()[4] for line in mounts.splitlines())
            if any(f"/{kind}-" in mount for kind in ("vpc", "nat", "vpce", "eni"))
            or mount.startswith("/var/lib/stead/")
        ),
    )


def assert_nothing_beyond(
    before: HostInventory, what: str, seconds: float = 10.0, place: RigPlace | None = None
) -> None:
    """Fail, with a list, if something is left that was not there before, after waiting for what is being removed."""
    try:
        wait_for(lambda: not take_inventory(place).beyond(before), "nothing is left", seconds, poll=0.1)
    except AssertionError:
        left = take_inventory(place).beyond(before)
        if left:
            raise AssertionError(
                f"{what} left on {place.name if place else 'this host'}:\n  " + "\n  ".join(left)
            ) from None


def is_our_link(name: str) -> bool:
    """Tell whether this is a name of a link that the agent makes."""
    return bool(_LINK.fullmatch(name))


def is_link_local(route: dict[str, Any]) -> bool:
    """Tell whether a route is the kernel's own for link-local addresses, which appears a second or two after the link.

    It vanishes with the link, which is checked anyway.
    """
    return str(route.get("dst", "")).startswith(("fe80:", "ff00:"))


def _run_here(*command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def _read(answer: str) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = json.loads(answer or "[]")
    return shown


def _route(route: dict[str, Any]) -> str:
    """The identifying fields of a route; addresses of links that only tests make are ignored."""
    parts = (route.get("type", ""), route.get("dst", ""), route.get("dev", ""), route.get("table", ""))
    return " ".join(str(part) for part in parts if part)


def _nft_tables(answer: str) -> frozenset[str]:
    tables = [item["table"] for item in json.loads(answer)["nftables"] if "table" in item]
    return frozenset(f"{table['family']} {table['name']}" for table in tables if _TABLE.search(table["name"]))


def _processes() -> frozenset[str]:
    """Programs that outlive the agent, and our own, with what distinguishes them; zombies do not count."""
    found = set()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or not box.ours(folder.name):
            continue
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # it exited meanwhile
        program = os.fsdecode(words[0])
        if b"stead_agent.metadata" in words:
            found.add(f"stead_agent.metadata {os.fsdecode(words[-3])}")  # its folder, followed by its state and ""
            continue
        if len(words) > 2 and "python" in program:
            program = os.fsdecode(words[1])
        if name := _PROGRAM.search(program):
            # Not the process id: a program that was killed and started again is no leak.
            telling = [os.fsdecode(word) for word in words if word.startswith(_TELLING)]
            found.add(f"{name[1]} {' '.join(telling)}")
    return frozenset(found)
