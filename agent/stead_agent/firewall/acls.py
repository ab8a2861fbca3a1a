"""Convert network ACLs into nft chains: pure.

An ACL is stateless and applies at the border of a subnet only. A subnet's own chain accepts traffic inside the subnet
and jumps to its ACL's; there the first entry that matches decides: `return` passes the packet on to the groups, all
else is dropped.
https://docs.aws.amazon.com/vpc/latest/userguide/nacl-rules.html
"""

import re
from dataclasses import replace
from functools import lru_cache
from ipaddress import ip_network
from typing import Final

from stead_agent.firewall.interface import Acl, AclEntry, Refusal, Subnet
from stead_agent.firewall.rules import Traffic, read_traffic
from stead_agent.firewall.table import Chain, Statement

_ACL_ID: Final = re.compile(r"acl-[0-9a-f]{8,32}\Z")
_EVERYTHING: Final = {4: "meta nfproto ipv4", 6: "meta nfproto ipv6"}
_FAMILY: Final = {4: "ip", 6: "ip6"}
_ICMP: Final = {1: 4, 58: 6}


def clean_acl(acl: Acl, refusals: list[Refusal]) -> Acl | None:
    """Sort the entries and leave out invalid ones; where an invalid one would deny, all after it is denied."""
    if not _ACL_ID.match(acl.id):
        refusals.append(Refusal(acl.id, "no ACL id"))
        return None
    valid: list[AclEntry] = []
    closed: set[bool] = set()
    for entry in sorted(acl.entries, key=lambda it: it.rule_number):
        if entry.egress in closed:
            continue
        try:
            _match(entry, "saddr")
        except ValueError as error:
            refusals.append(Refusal(acl.id, f"entry {entry.rule_number}: {error}"))
            if not entry.allow:
                closed.add(entry.egress)
        else:
            valid.append(entry)
    return replace(acl, entries=tuple(valid))


@lru_cache(maxsize=1024)
def acl_statements(acl: Acl, *, egress: bool, rejected: str) -> tuple[Statement, ...]:
    """Convert one direction of an ACL whose entries are all valid; denied packets go to the chain `rejected`."""
    side = "daddr" if egress else "saddr"
    found = []
    for entry in acl.entries:
        if entry.egress is egress:
            verdict = "return" if entry.allow else f"goto {rejected}"
            found.append(Statement(f"rule {entry.rule_number}", f"{_match(entry, side)} {verdict}"))
    return (*found, Statement("what no rule matches", f"goto {rejected}"))


def _match(entry: AclEntry, side: str) -> str:
    block = ip_network(entry.cidr, strict=False)
    traffic = acl_traffic(entry)
    where = _EVERYTHING[block.version] if block.prefixlen == 0 else f"{_FAMILY[block.version]} {side} {block}"
    return f"{where} {traffic.text}".rstrip()


def acl_traffic(entry: AclEntry) -> Traffic:
    """Read an entry's protocol and ports; ValueError when they, or its block, are invalid.

    ICMP of the other IP version means all of that protocol, as in EC2 for 58 with an IPv4 block.
    """
    traffic = read_traffic(entry.protocol, entry.from_port, entry.to_port)
    version = _ICMP.get(traffic.protocol)
    if version is not None and version != ip_network(entry.cidr, strict=False).version:
        return Traffic(traffic.protocol, -1, -1)
    return traffic


def border(subnet: Subnet, acl_id: str, *, egress: bool) -> Chain:
    """Return the chain of a subnet and direction: traffic that stays in the subnet skips the ACL."""
    side, way = ("daddr", "out") if egress else ("saddr", "in")
    inside = [
        Statement("within the subnet", f"{_FAMILY[ip_network(cidr).version]} {side} {ip_network(cidr)} return")
        for cidr in (subnet.cidr, subnet.ipv6_cidr)
        if cidr
    ]
    why = f"Subnet {subnet.id or subnet.link}, {'to' if egress else 'from'} elsewhere."
    return Chain(why, (*inside, Statement("its network ACL", f"goto {acl_id}-{way}")))
