"""Clouds at random: two peered VPCs on two hosts, of which groups, rules, ACLs, routes and public addresses vary."""

import random
from dataclasses import replace

from stead_agent.firewall.interface import Acl, AclEntry, Group, GroupRule
from stead_agent.network.interface import RouteTable, RouteTo, TableRoute
from tests.host.firewall.ec2 import Cloud, Eni, Subnet, Vpc

ONE, TWO = "vpc-0000000000000001", "vpc-0000000000000002"
PEERING = "pcx-0000000000000012"
OUTSIDERS = {4: ("203.0.113.7", "192.0.9.9"), 6: ("2001:db8:ffff::7", "2001:db8:eeee::9")}
GROUPS = {
    ONE: [f"sg-000000000000000{digit}" for digit in "abcd"],
    TWO: [f"sg-000000000000001{digit}" for digit in "ab"],
}
LISTS = ["pl-0000000000000001", "pl-0000000000000002"]
ACLS = {vpc: [f"acl-000000000000000{number}{digit}" for digit in "abc"] for vpc, number in ((ONE, 1), (TWO, 2))}
PUBLIC = [f"198.51.100.{number}" for number in range(10, 20)]
_BLOCKS = [
    "0.0.0.0/0", "0.0.0.0/0", "10.0.0.0/16", "10.0.1.0/24", "10.0.1.10/31", "10.0.2.0/25", "10.1.0.0/16", "203.0.113.0/24",
    "10.0.0.0/15", "::/0", "::/0", "2001:db8:1::/56", "2001:db8:1:1::/64", "2001:db8:1:2::a/128", "2001:db8:2::/56",
    "2001:db8:ffff::/48",
]  # fmt: skip


def fixed_cloud(*, peered: bool) -> Cloud:
    """Give what does not vary: VPCs, subnets, and interfaces with their hosts."""
    cloud = Cloud(
        vpcs={
            ONE: Vpc(ONE, "10.0.0.0/16", "2001:db8:1::/56", TWO if peered else ""),
            TWO: Vpc(TWO, "10.1.0.0/16", "2001:db8:2::/56", ONE if peered else ""),
        }
    )
    for vpc, number, second, prefix in (
        (ONE, 1, 0, "2001:db8:1:1"),
        (ONE, 2, 0, "2001:db8:1:2"),
        (ONE, 3, 0, "2001:db8:1:3"),
        (TWO, 1, 1, "2001:db8:2:1"),
    ):
        subnet_id = f"subnet-00000000000000{second}{number}"
        cloud.subnets[subnet_id] = Subnet(subnet_id, vpc, f"10.{second}.{number}.0/24", f"{prefix}::/64")
    places = [(0, "a"), (0, "b"), (0, "a"), (1, "a"), (1, "b"), (2, "b"), (2, "a"), (1, "b"), (3, "a"), (3, "b")]
    subnets = list(cloud.subnets.values())
    for number, (place, host) in enumerate(places):
        subnet = subnets[place]
        last = 10 + number
        cloud.enis[f"eni-{number:017x}"] = Eni(
            f"eni-{number:017x}",
            subnet.id,
            host,
            f"06:00:00:00:00:{number:02x}",
            subnet.cidr.replace("0/24", str(last)),
            subnet.ipv6_cidr.replace("/64", f"{last:x}"),
            check=number not in (6, 7),
        )
    return cloud


def on_one_host(cloud: Cloud) -> Cloud:
    """Move all interfaces to the first host."""
    return replace(cloud, enis={eni.id: replace(eni, host="a") for eni in cloud.enis.values()})


def random_cloud(cloud: Cloud, chance: random.Random) -> Cloud:
    """Vary all that may vary."""
    lists = {list_id: tuple(chance.sample(_BLOCKS, chance.randint(0, 4))) for list_id in LISTS}
    public = chance.sample(PUBLIC, len(PUBLIC))
    enis, groups, subnets = {}, {}, {}
    for eni in cloud.enis.values():
        own = GROUPS[cloud.subnets[eni.subnet].vpc]
        enis[eni.id] = replace(
            eni,
            groups=tuple(chance.sample(own, chance.randint(1, 2))),
            public=public.pop() if chance.random() < 0.6 else "",
        )
    numbers = iter(range(10_000))
    for vpc, own in GROUPS.items():
        others = GROUPS[TWO if vpc == ONE else ONE]
        for group_id in own:
            rules = [_rule(chance, next(numbers), [*own, *own, *others], lists) for _ in range(chance.randint(3, 9))]
            if chance.random() < 0.7:  # as a new group has it
                rules += [
                    GroupRule(f"sgr-{next(numbers):017x}", True, "-1", -1, -1, block) for block in ("0.0.0.0/0", "::/0")
                ]
            groups[group_id] = Group(group_id, tuple(rules))
    for subnet in cloud.subnets.values():
        subnets[subnet.id] = replace(
            subnet, table=subnet.id.replace("subnet", "rtb"), acl=chance.choice(ACLS[subnet.vpc])
        )
    acls = {acl_id: _acl(chance, acl_id) for own in ACLS.values() for acl_id in own}
    tables = {subnet.table: _table(chance, cloud, subnet) for subnet in subnets.values()}
    return Cloud(cloud.vpcs, subnets, enis, groups, acls, tables)


def _ports(chance: random.Random, protocol: str) -> tuple[int, int]:
    if protocol in ("tcp", "udp", "6", "17") and chance.random() < 0.7:
        first = chance.choice([22, 53, 80])
        return first, chance.choice([first, first + 10, 65535])
    if protocol in ("icmp", "1"):
        return chance.choice([(-1, -1), (8, -1), (8, 0), (13, 0)])
    if protocol in ("icmpv6", "58"):
        return chance.choice([(-1, -1), (128, -1), (128, 0), (139, 0)])
    return -1, -1


def _rule(chance: random.Random, number: int, groups: list[str], lists: dict[str, tuple[str, ...]]) -> GroupRule:
    protocol = chance.choice(["-1", "-1", "tcp", "udp", "icmp", "icmpv6", "50"])
    first, last = _ports(chance, protocol)
    peer = chance.choice([chance.choice(_BLOCKS), chance.choice(_BLOCKS), chance.choice(groups), chance.choice(LISTS)])
    return GroupRule(f"sgr-{number:017x}", chance.random() < 0.3, protocol, first, last, peer, lists.get(peer, ()))


def _acl(chance: random.Random, acl_id: str) -> Acl:
    """Give an ACL of a few random entries before those that allow everything, or nothing."""
    entries = []
    for egress in (False, True):
        for number in chance.sample(range(1, 100), chance.randint(0, 4)):
            block = chance.choice(_BLOCKS)
            protocol = chance.choice(["-1", "6", "17", "1" if "." in block else "58", "50"])
            first, last = _ports(chance, protocol)
            entries.append(AclEntry(number, egress, chance.random() < 0.5, protocol, block, first, last))
        if chance.random() < 0.85:
            entries += [AclEntry(it + 200, egress, True, "-1", block) for it, block in enumerate(("0.0.0.0/0", "::/0"))]
    chance.shuffle(entries)
    return Acl(acl_id, tuple(entries))


def _table(chance: random.Random, cloud: Cloud, subnet: Subnet) -> RouteTable:
    """Give a route table; routers are not reached from their own subnets, where EC2 has no say."""
    here = cloud.vpcs[subnet.vpc]
    peer = cloud.vpcs[TWO if here.id == ONE else ONE]
    routers = [
        eni.id
        for eni in cloud.enis.values()
        if not eni.check and cloud.subnets[eni.subnet].vpc == subnet.vpc and eni.subnet != subnet.id
    ]
    targets = [(RouteTo.INTERNET, ""), (RouteTo.INTERNET, ""), (RouteTo.NOWHERE, "")]
    targets += [(RouteTo.INTERFACE, router) for router in routers]
    routes = {}
    for block in ("0.0.0.0/0", "203.0.113.0/24"):
        if chance.random() < 0.7:
            routes[block] = TableRoute(block, *chance.choice(targets))
    for block in ("::/0", "2001:db8:ffff::/48"):
        if chance.random() < 0.7:
            routes[block] = TableRoute(block, *chance.choice([*targets, (RouteTo.EGRESS_ONLY, "")]))
    for block in (peer.cidr, peer.ipv6_cidr, "10.1.1.16/28" if here.id == ONE else "10.0.1.0/28"):
        if chance.random() < 0.8:
            choices = [(RouteTo.PEER, peer.id)] * 4 + [(RouteTo.NOWHERE, "")]
            routes[block] = TableRoute(block, *chance.choice(choices))
    if here.id == ONE and routers and chance.random() < 0.3:
        block = chance.choice([it.cidr for it in cloud.subnets.values() if it.vpc == ONE and it.id != subnet.id])
        routes[block] = TableRoute(block, RouteTo.INTERFACE, chance.choice(routers))
    return RouteTable(subnet.id.replace("subnet", "rtb"), tuple(routes.values()))
