"""On which hosts the interfaces of VPCs are, updated incrementally so that one change among thousands is cheap.

Belongs to the event loop; a unit's work gets immutable copies.
"""

from collections.abc import Collection, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from stead_agent.dhcp.interface import DnsName
from stead_agent.network.interface import RemoteInterface
from stead_agent.reconcile.journal import Journal
from stead_agent.roster import Roster
from stead_agent.wanted import Key, Wanted
from stead_proto.v1.desired_pb2 import Mapping

_NO_UNITS: Final[frozenset[str]] = frozenset()


type _Names = tuple[DnsName, ...]  # of an interface


def _elsewhere(all_of_them: dict[str, RemoteInterface], local: AbstractSet[str]) -> tuple[RemoteInterface, ...]:
    for name in local:
        all_of_them.pop(name, None)
    return tuple(all_of_them.values())


def _resolved(all_of_them: dict[str, _Names], local: AbstractSet[str]) -> tuple[DnsName, ...]:
    for name in local & all_of_them.keys():  # of these the private name is added elsewhere
        all_of_them[name] = tuple(each for each in all_of_them[name] if not each.main)
    return tuple(chain.from_iterable(all_of_them.values()))


def _remotes() -> Journal[Mapping, RemoteInterface]:
    return Journal(_elsewhere, _remote_of)


def _names() -> Journal[Mapping, DnsName]:
    return Journal(_resolved, _names_of)


@dataclass(slots=True)
class _VpcMappings:
    """The mappings of one VPC, in the form that subsystems need."""

    # All that are on any host, including this one.
    remotes: Journal[Mapping, RemoteInterface] = field(default_factory=_remotes)
    names: Journal[Mapping, DnsName] = field(default_factory=_names)
    routers: set[str] = field(default_factory=set)  # those of them that may forward
    members: dict[str, dict[str, str]] = field(default_factory=dict)  # by group: address -> interface
    rosters: dict[str, Roster] = field(default_factory=dict)  # members of the groups that were asked for


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

    def members(self, group_id: str, vpc_ids: Iterable[str]) -> AbstractSet[str]:
        """List the addresses of a group's interfaces in these VPCs; the same object shows that nothing has changed."""
        for vpc_id in vpc_ids:
            vpc = self._vpcs.get(vpc_id)
            if vpc is not None and group_id in vpc.members:
                found = vpc.rosters.get(group_id)
                if found is None:
                    found = vpc.rosters[group_id] = Roster(vpc.members[group_id])
                return found
        return _NO_UNITS

    def remotes(self, vpc_id: str, local: AbstractSet[str]) -> Collection[RemoteInterface]:
        """List the interfaces of a VPC that are on other hosts; `local` are the ids of those here.

        The same object shows that nothing has changed; so it does of `names`.
        """
        vpc = self._vpcs.get(vpc_id)
        return vpc.remotes.view(local) if vpc is not None else ()

    def routers(self, vpc_id: str, local: AbstractSet[str]) -> frozenset[str]:
        """List the ids of a VPC's interfaces on other hosts that may forward, to which routes may lead."""
        vpc = self._vpcs.get(vpc_id)
        return frozenset(vpc.routers - local) if vpc is not None and vpc.routers else _NO_UNITS

    def names(self, vpc_id: str, local: AbstractSet[str]) -> Collection[DnsName]:
        """List the names of a VPC's interfaces; the private names of local ones are added elsewhere."""
        vpc = self._vpcs.get(vpc_id)
        return vpc.names.view(local) if vpc is not None else ()

    def _add(self, interface_id: str, mapping: Mapping) -> None:
        vpc = self._vpcs.get(mapping.vpc_id)
        if vpc is None:
            vpc = self._vpcs[mapping.vpc_id] = _VpcMappings()
        addresses = tuple(mapping.addresses)
        if addresses and mapping.host_address:
            vpc.remotes.put(interface_id, mapping)
            if not mapping.source_dest_check:
                vpc.routers.add(interface_id)
        vpc.names.put(interface_id, mapping)
        for group_id in mapping.security_group_ids:
            members = vpc.members.setdefault(group_id, {})
            members.update(dict.fromkeys(addresses, interface_id))
            if group_id in vpc.rosters:
                vpc.rosters[group_id] = vpc.rosters[group_id].after(addresses, ())

    def _remove(self, interface_id: str, mapping: Mapping) -> None:
        vpc = self._vpcs[mapping.vpc_id]
        vpc.remotes.drop(interface_id)
        vpc.routers.discard(interface_id)
        vpc.names.drop(interface_id)
        for group_id in mapping.security_group_ids:
            members = vpc.members.get(group_id, {})
            # An address may move before its old owner's change arrives.
            gone = [address for address in mapping.addresses if members.get(address) == interface_id]
            for address in gone:
                del members[address]
            if group_id in vpc.rosters:
                vpc.rosters[group_id] = vpc.rosters[group_id].after((), gone)
            if not members:
                vpc.members.pop(group_id, None)
                vpc.rosters.pop(group_id, None)
        if not vpc.names.values:
            del self._vpcs[mapping.vpc_id]


def _remote_of(interface_id: str, mapping: Mapping) -> RemoteInterface:
    return RemoteInterface(
        id=interface_id,
        mac=mapping.mac_address,
        addresses=tuple(mapping.addresses),
        host=mapping.host_address,
        is_router=not mapping.source_dest_check,
    )


def _names_of(_interface_id: str, mapping: Mapping) -> _Names:
    names: list[DnsName] = []
    addresses = mapping.addresses
    if addresses and mapping.public_dns_name:
        names.append(DnsName(mapping.public_dns_name, addresses[0], main=False))
    names += [DnsName(mapping.resource_name, each, main=False) for each in mapping.resource_name_addresses]
    if addresses and mapping.private_dns_name:
        names.append(DnsName(mapping.private_dns_name, addresses[0]))
    return tuple(names)
