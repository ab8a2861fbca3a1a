"""On which hosts the interfaces of VPCs are, updated incrementally so that one change among thousands is cheap.

Belongs to the event loop; a unit's work gets immutable copies.
"""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from stead_agent.dhcp.interface import DnsName
from stead_agent.network.interface import RemoteInterface
from stead_agent.wanted import Key, Wanted
from stead_proto.v1.desired_pb2 import Mapping

_NO_UNITS: Final[frozenset[str]] = frozenset()


@dataclass(slots=True)
class _VpcMappings:
    """The mappings of one VPC, in the form that subsystems need."""

    remotes: dict[str, RemoteInterface] = field(default_factory=dict)  # all that are on any host, including this one
    private_names: dict[str, DnsName] = field(default_factory=dict)
    public_names: dict[str, DnsName] = field(default_factory=dict)
    resource_names: dict[str, tuple[DnsName, ...]] = field(default_factory=dict)
    routers: set[str] = field(default_factory=set)  # those of them that may forward
    members: dict[str, dict[str, str]] = field(default_factory=dict)  # by group: address -> interface
    frozen: dict[str, frozenset[str]] = field(default_factory=dict)  # members by group, as last returned
    # As last returned, and for which local interfaces: returning the same object shows that nothing has changed.
    remotes_for: tuple[AbstractSet[str], tuple[RemoteInterface, ...]] | None = None
    names_for: tuple[AbstractSet[str], tuple[DnsName, ...]] | None = None

    def thaw(self) -> None:
        """Forget the returned values: something has changed."""
        self.remotes_for = self.names_for = None


class Mappings:
    """All mappings that were sent to this host."""

    def __init__(self) -> None:
        self._vpcs: dict[str, _VpcMappings] = {}
        self._known: dict[str, Mapping] = {}

    def follow(self, key: Key, wanted: Wanted) -> frozenset[str]:
        """Update a mapping that may have changed or gone; return the groups whose members may have changed."""
        resource = wanted.resources.get(key)
        before, after = self._known.pop(key.id, None), resource.mapping if resource is not None else None
        if before is not None and before == after:
            self._known[key.id] = before
            return _NO_UNITS
        groups: set[str] = set()
        if before is not None:
            self._remove(key.id, before)
            groups |= {*before.security_group_ids}
        if after is not None:
            self._add(key.id, after)
            self._known[key.id] = after
            groups |= {*after.security_group_ids}
        return frozenset(groups)

    def members(self, group_id: str, vpc_ids: Iterable[str]) -> frozenset[str]:
        """List the addresses of a group's interfaces in these VPCs."""
        for vpc_id in vpc_ids:
            vpc = self._vpcs.get(vpc_id)
            if vpc is not None and group_id in vpc.members:
                found = vpc.frozen.get(group_id)
                if found is None:
                    found = vpc.frozen[group_id] = frozenset(vpc.members[group_id])
                return found
        return _NO_UNITS

    def remotes(self, vpc_id: str, local: AbstractSet[str]) -> tuple[RemoteInterface, ...]:
        """List the interfaces of a VPC that are on other hosts; `local` are the ids of those here."""
        vpc = self._vpcs.get(vpc_id)
        if vpc is None:
            return ()
        if vpc.remotes_for is None or vpc.remotes_for[0] != local:
            vpc.remotes_for = local, tuple(_without(vpc.remotes, local).values())
        return vpc.remotes_for[1]

    def routers(self, vpc_id: str, local: AbstractSet[str]) -> frozenset[str]:
        """List the ids of a VPC's interfaces on other hosts that may forward, to which routes may lead."""
        vpc = self._vpcs.get(vpc_id)
        return frozenset(vpc.routers - local) if vpc is not None and vpc.routers else _NO_UNITS

    def names(self, vpc_id: str, local: AbstractSet[str]) -> tuple[DnsName, ...]:
        """List the names of a VPC's interfaces; the private names of local ones are added elsewhere."""
        vpc = self._vpcs.get(vpc_id)
        if vpc is None:
            return ()
        if vpc.names_for is None or vpc.names_for[0] != local:
            private = _without(vpc.private_names, local).values()
            by_resource = chain.from_iterable(vpc.resource_names.values())
            vpc.names_for = local, (*vpc.public_names.values(), *by_resource, *private)
        return vpc.names_for[1]

    def _add(self, interface_id: str, mapping: Mapping) -> None:
        vpc = self._vpcs.setdefault(mapping.vpc_id, _VpcMappings())
        vpc.thaw()
        addresses = tuple(mapping.addresses)
        if mapping.host_address and addresses:
            vpc.remotes[interface_id] = RemoteInterface(
                id=interface_id,
                mac=mapping.mac_address,
                addresses=addresses,
                host=mapping.host_address,
                is_router=not mapping.source_dest_check,
            )
            if not mapping.source_dest_check:
                vpc.routers.add(interface_id)
        if addresses and mapping.private_dns_name:
            vpc.private_names[interface_id] = DnsName(mapping.private_dns_name, addresses[0])
        if addresses and mapping.public_dns_name:
            vpc.public_names[interface_id] = DnsName(mapping.public_dns_name, addresses[0], main=False)
        if mapping.resource_name_addresses:
            vpc.resource_names[interface_id] = tuple(
                DnsName(mapping.resource_name, each, main=False) for each in mapping.resource_name_addresses
            )
        for group_id in mapping.security_group_ids:
            members = vpc.members.setdefault(group_id, {})
            members.update(dict.fromkeys(addresses, interface_id))
            vpc.frozen.pop(group_id, None)

    def _remove(self, interface_id: str, mapping: Mapping) -> None:
        vpc = self._vpcs[mapping.vpc_id]
        vpc.thaw()
        vpc.remotes.pop(interface_id, None)
        vpc.routers.discard(interface_id)
        vpc.private_names.pop(interface_id, None)
        vpc.public_names.pop(interface_id, None)
        vpc.resource_names.pop(interface_id, None)
        for group_id in mapping.security_group_ids:
            members = vpc.members[group_id]
            for address in mapping.addresses:
                if members.get(address) == interface_id:  # an address may move before its old owner's change arrives
                    del members[address]
            vpc.frozen.pop(group_id, None)
            if not members:
                del vpc.members[group_id]
        if not (vpc.remotes or vpc.private_names or vpc.public_names or vpc.resource_names or vpc.members):
            del self._vpcs[mapping.vpc_id]


def _without[V](all_of_them: dict[str, V], few: AbstractSet[str]) -> dict[str, V]:
    """Copy a large dictionary without a few keys: in two steps with almost no time per entry."""
    rest = all_of_them.copy()
    for key in few:
        rest.pop(key, None)
    return rest
