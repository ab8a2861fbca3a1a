"""What somebody could do to links and tables of ours on a host, and whether all that guests need is in order; pure."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from tests.support.leaks import is_our_link

# Prints `NAMESPACE table FAMILY NAME` for each table, and a line for each namespace; the host itself is "-".
TABLES: Final = """
echo - namespace
nft list tables | sed 's/^/- /'
for name in $(ls /run/netns 2>/dev/null); do
  echo "$name namespace"
  ip netns exec "$name" nft list tables | sed "s/^/$name /"
done
"""
# Prints the links, then `DOMAIN TAP` for each interface of a guest that runs, then the tables.
OBSERVED: Final = f"""
ip -j -d link || exit
echo ====
for domain in $(virsh -q list --name); do virsh -q domiflist "$domain" | sed -n "s/^ *\\([^ ]*\\) .*/$domain \\1/p"; done
echo ====
{TABLES}
"""
_TABLE: Final = re.compile(r"(\S+) table (\w+) (stead\S*)")
_NAMESPACE: Final = re.compile(r"^(-|vpc-\S+) namespace$", re.MULTILINE)


def of_links(links: Iterable[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Commands that damage each link of ours; a guest's tap is never deleted, as its QEMU would have to be started anew."""
    found: list[tuple[str, ...]] = []
    for link in links:
        name, kind = link["ifname"], link.get("linkinfo", {}).get("info_kind", "")
        if not is_our_link(name):
            continue
        found.append(("ip", "link", "set", name, "down"))
        if kind == "tun":
            found.append(("ip", "link", "set", name, "nomaster"))
        elif kind in ("bridge", "veth"):
            found.append(("ip", "link", "delete", name))
    return found


def of_tables(lines: str) -> list[tuple[str, ...]]:
    """Commands that delete each table of ours, of the lines that TABLES prints."""
    found: list[tuple[str, ...]] = []
    for place, family, name in _TABLE.findall(lines):
        inside = () if place == "-" else ("ip", "netns", "exec", place)
        found.append((*inside, "nft", "delete", "table", family, name))
    return found


def faults_of(observed: str) -> list[str]:
    """Say what is not in order on a host, of what PICTURE prints: taps, their bridges, and tables of VPCs."""
    shown, taps, tables = observed.split("====\n")
    links = {link["ifname"]: link for link in json.loads(shown)}
    found = [fault for line in taps.splitlines() for fault in _faults_of_tap(line, links)]
    ruled = {place for place, _, _ in _TABLE.findall(tables)}
    places = {place for place in _NAMESPACE.findall(tables) if place.startswith("vpc-") or taps.split()}
    return found + [f"there is no table in {place}" for place in sorted(places - ruled)]


def _faults_of_tap(line: str, links: Mapping[str, Any]) -> Iterable[str]:
    domain, tap = line.split()
    if tap not in links:
        yield f"{domain}: its tap {tap} is not there"
        return
    bridge = links[tap].get("master", "")
    if "UP" not in links[tap]["flags"]:
        yield f"{domain}: its tap {tap} is down"
    if bridge not in links:
        yield f"{domain}: its tap {tap} is on no bridge"
    elif "UP" not in links[bridge]["flags"]:
        yield f"{domain}: its bridge {bridge} is down"
