"""The gateway endpoints of this host: one namespace each, created, audited and removed with the VPC's lock held.

A route of the VPC leads to such a namespace, which has the addresses of a service, a route back to the VPC only, and
no nft rules.
Which process listens there does not concern the network.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

from stead_agent.network import namespace_rules
from stead_agent.network.desired_objects import endpoint_link, owner_of
from stead_agent.network.interface import ENDPOINT_PREFIX, GatewayEndpoint, VpcNetwork, endpoint_link_name
from stead_agent.network.kernel_objects import Address, KernelObject, PeerLink, Place, Route, Setting, Up
from stead_agent.network.namespaces import Namespaces
from stead_agent.network.observe import HostView, observe_namespace
from stead_agent.network.plan import Remove, plan
from stead_agent.network.route_tables import PEER_ADDRESS
from stead_agent.network.rtnetlink import Kernel, with_kernel

_NOTHING: Final = HostView({}, [], [], [], [])


@dataclass(frozen=True, slots=True)
class _Applied:
    """What was applied for an endpoint, and in which namespace."""

    objects: tuple[KernelObject, ...]
    namespace: int | None


def endpoint_objects(vpc: VpcNetwork, endpoint: GatewayEndpoint, namespace: int) -> list[KernelObject]:
    """List the objects of an endpoint's namespace (`Place.VPC` here); `namespace` is the identity of the VPC's."""
    return [
        Setting(Place.VPC, "net/ipv4/ip_forward", "0"),
        *(Setting(Place.VPC, f"net/ipv4/conf/{scope}/rp_filter", "0") for scope in ("all", "default")),
        *(Address(Place.VPC, "lo", f"{IPv4Address(address)}/32") for address in endpoint.addresses),
        Up(Place.VPC, "lo"),
        *endpoint_link(endpoint.id, vpc.vpc_id, namespace, vpc.mtu),
        Route(Place.VPC, "0.0.0.0/0", endpoint_link_name(endpoint.id), PEER_ADDRESS),
    ]


def _remove_links(kernel: Kernel) -> None:
    for link in kernel.links(Place.VPC):
        if link.name.startswith(ENDPOINT_PREFIX):
            kernel.carry_out(Remove(PeerLink(link.name, "", "", 0, "", 0)))


class Endpoints:
    """All of a host. The endpoints of one VPC are handled by one thread at a time; different VPCs are independent."""

    def __init__(self, namespaces: Namespaces) -> None:
        self._namespaces = namespaces
        self._applied: dict[str, dict[str, _Applied]] = {}  # by VPC and endpoint

    def prepare(self, vpc: VpcNetwork) -> dict[str, int]:
        """Create the namespaces of a VPC's endpoints and remove old ones; return each namespace's identity."""
        wanted = {endpoint.id for endpoint in vpc.endpoints}
        known = self._applied.get(vpc.vpc_id)
        if known is None:
            known = self._applied[vpc.vpc_id] = {}
            self._remove_all(self._of(vpc.vpc_id) - wanted)
        for endpoint_id in known.keys() - wanted:
            self._remove_all({endpoint_id})
            del known[endpoint_id]
        found = {}
        for endpoint_id in sorted(wanted):
            self._namespaces.create(endpoint_id)
            identity = self._namespaces.identity(endpoint_id)
            if identity is not None:
                found[endpoint_id] = identity
        return found

    def apply(self, vpc: VpcNetwork) -> None:
        """Configure the addresses and the return routes of a VPC's endpoints; the VPC's own links must exist."""
        known = self._applied.setdefault(vpc.vpc_id, {})
        for endpoint in vpc.endpoints:
            wanted = self._wanted(vpc, endpoint)
            if known.get(endpoint.id) != wanted:
                known.pop(endpoint.id, None)
                self._make(endpoint.id, wanted)
                known[endpoint.id] = wanted

    def restore(self, vpc_id: str) -> list[str]:
        """Recreate namespaces that were removed by others, so that the VPC can be joined to them; return which."""
        return [f"{each}: namespace" for each in self._applied.get(vpc_id, {}) if self._namespaces.create(each)]

    def audit(self, vpc_id: str) -> list[str]:
        """Read a VPC's endpoints again and repair them; return what was repaired."""
        return [
            f"{endpoint_id}: {step}"
            for endpoint_id, before in self._applied.get(vpc_id, {}).items()
            for step in self._make(endpoint_id, before)
        ]

    def remove(self, vpc_id: str) -> None:
        """Remove the VPC's endpoints."""
        self._remove_all(self._applied.pop(vpc_id, {}).keys() | self._of(vpc_id))

    def remove_orphans(self) -> None:
        """Remove namespaces that a crash left without a link: only the link's alias names the VPC they belong to."""
        self._remove_all(each for each in self._namespaces.endpoints() if self._owner(each) is None)

    def _wanted(self, vpc: VpcNetwork, endpoint: GatewayEndpoint) -> _Applied:
        namespace = self._namespaces.identity(vpc.vpc_id) or 0
        objects = endpoint_objects(vpc, endpoint, namespace)
        return _Applied(tuple(objects), self._namespaces.identity(endpoint.id))

    def _make(self, endpoint_id: str, wanted: _Applied) -> list[str]:
        """Configure one and remove foreign rules in its namespace; return what was changed."""

        def work(kernel: Kernel) -> list[str]:
            objects = list(wanted.objects)
            steps = plan(observe_namespace(kernel, _NOTHING, {}, objects), objects)
            for step in steps:
                kernel.carry_out(step)
            return [str(step) for step in steps]

        path = self._namespaces.path(endpoint_id)
        has_rules = bool(namespace_rules.listed(path))
        if has_rules:
            namespace_rules.replace(path, "")
        return with_kernel(self._namespaces, endpoint_id, work) + (["rules"] if has_rules else [])

    def _of(self, vpc_id: str) -> set[str]:
        """List the endpoints whose link aliases name this VPC."""
        return {each for each in self._namespaces.endpoints() if self._owner(each) == vpc_id}

    def _owner(self, endpoint_id: str) -> str | None:
        """Return the VPC of an endpoint from the alias of its link; None without one."""
        if not self._namespaces.exists(endpoint_id):
            return None

        def read(kernel: Kernel) -> str | None:
            aliases = [link.alias for link in kernel.links(Place.VPC) if link.name.startswith(ENDPOINT_PREFIX)]
            words = aliases[0].split() if aliases and owner_of(aliases[0]) else []
            return words[2] if len(words) > 2 else None  # words of the alias: `stead`, the endpoint, its VPC

        return with_kernel(self._namespaces, endpoint_id, read)

    def _remove_all(self, endpoint_ids: Iterable[str]) -> None:
        """Remove endpoints; their links first, since a namespace lives as long as a process listens in it."""
        for endpoint_id in sorted(endpoint_ids):
            if self._namespaces.exists(endpoint_id):
                with_kernel(self._namespaces, endpoint_id, _remove_links)
            self._namespaces.delete(endpoint_id)
