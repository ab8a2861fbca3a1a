"""A network in memory: two VPCs with a public and a private subnet each, to be changed by tests."""

import ipaddress
from dataclasses import dataclass, field, replace
from typing import Any

from stead_controller.resources.network.reachability.facts import (
    AclRule,
    Group,
    GroupRule,
    Interface,
    NatGateway,
    Route,
    Subnet,
    Vpc,
)

EVERYTHING = AclRule(100, False, True, "-1", "0.0.0.0/0")
OPEN_ACL = (EVERYTHING, replace(EVERYTHING, egress=True))
OUT = GroupRule("sgr-out", True, "-1", -1, -1, ("0.0.0.0/0", "::/0"))


def allow(rule_id: Any, protocol: Any = "6", first: Any = 22, last: Any = 22, **peer: Any) -> Any:
    return GroupRule(rule_id, False, protocol, first, last, **{"blocks": ("0.0.0.0/0",)} | peer)


@dataclass
class Network:
    """Records by id; all tables may be changed."""

    vpcs: dict[str, Any] = field(default_factory=dict)
    subnets: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, Any] = field(default_factory=dict)
    acls: dict[str, Any] = field(default_factory=dict)
    groups: dict[str, Any] = field(default_factory=dict)
    interfaces: dict[str, Any] = field(default_factory=dict)
    nat_gateways: dict[str, Any] = field(default_factory=dict)
    peerings: dict[str, Any] = field(default_factory=dict)

    def vpc(self, vpc_id: Any) -> Any:
        return self.vpcs[vpc_id]

    def subnet(self, subnet_id: Any) -> Any:
        return self.subnets[subnet_id]

    def routes(self, route_table_id: Any) -> Any:
        return self.tables[route_table_id]

    def acl(self, acl_id: Any) -> Any:
        return self.acls[acl_id]

    def group(self, group_id: Any) -> Any:
        return self.groups[group_id]

    def interface(self, interface_id: Any) -> Any:
        return self.interfaces.get(interface_id)

    def interface_at(self, vpc_id: Any, address: Any) -> Any:
        wanted = ipaddress.ip_address(address)
        for one in self.interfaces.values():
            if one.vpc_id == vpc_id and wanted in map(ipaddress.ip_address, one.addresses):
                return one
        return None

    def interface_of_public(self, address: Any) -> Any:
        return next((one for one in self.interfaces.values() if address in one.public.values()), None)

    def nat_gateway(self, gateway_id: Any) -> Any:
        return self.nat_gateways.get(gateway_id)

    def peer(self, peering_id: Any, vpc_id: Any) -> Any:
        ends = self.peerings.get(peering_id, ())
        return next((end for end in ends if end != vpc_id), None) if vpc_id in ends else None

    def change(self, table: Any, key: Any, **changes: Any) -> None:
        rows = getattr(self, table)
        rows[key] = replace(rows[key], **changes)

    def add_route(self, table_id: Any, destination: Any, kind: Any, target_id: Any, **more: Any) -> None:
        self.tables[table_id] = (*self.tables[table_id], Route(destination, kind, target_id, **more))

    def let_in(self, group_id: Any, *rules: Any) -> None:
        self.change("groups", group_id, rules=(*self.groups[group_id].rules, *rules))

    def set_acl(self, acl_id: Any, *rules: Any) -> None:
        self.acls[acl_id] = rules


def add_vpc(network: Any, name: Any, base: Any) -> None:
    """VPC 10.base.0.0/16: subnet 1 is public (internet gateway), subnet 2 is private; web in 1, db in 2."""
    block = f"10.{base}.0.0/16"
    network.vpcs[f"vpc-{name}"] = Vpc(f"vpc-{name}", (block,), f"igw-{name}")
    local = Route(block, "local", "local")
    network.tables[f"rtb-{name}1"] = (local, Route("0.0.0.0/0", "internet-gateway", f"igw-{name}"))
    network.tables[f"rtb-{name}2"] = (local,)
    for number in (1, 2):
        here = f"{name}{number}"
        network.acls[f"acl-{here}"] = OPEN_ACL
        network.subnets[f"subnet-{here}"] = Subnet(
            f"subnet-{here}", f"vpc-{name}", (f"10.{base}.{number}.0/24",), f"rtb-{here}", f"acl-{here}"
        )
    network.groups[f"sg-web{name}"] = Group(f"sg-web{name}", (OUT,))
    network.groups[f"sg-db{name}"] = Group(f"sg-db{name}", (OUT,))
    add_interface(network, f"web{name}", f"subnet-{name}1", f"10.{base}.1.10", f"198.18.{base}.10")
    add_interface(network, f"db{name}", f"subnet-{name}2", f"10.{base}.2.20")


def add_interface(network: Any, name: Any, subnet_id: Any, address: Any, public: Any = None, **more: Any) -> Any:
    values = {
        "group_ids": (f"sg-{name}",),
        "public": {address: public} if public else {},
        "instance_id": f"i-{name}",
    }
    interface = Interface(f"eni-{name}", network.subnets[subnet_id].vpc_id, subnet_id, (address,), **values | more)
    network.interfaces[interface.id] = interface
    return interface


def add_nat(network: Any, name: Any, subnet_id: Any, address: Any, public: Any) -> None:
    add_interface(network, name, subnet_id, address, public, group_ids=(), instance_id=None, unfiltered=True)
    network.nat_gateways[f"nat-{name}"] = NatGateway(f"nat-{name}", f"eni-{name}")


def two_vpcs() -> Any:
    network = Network()
    add_vpc(network, "a", 1)
    add_vpc(network, "b", 2)
    return network
