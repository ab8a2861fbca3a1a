"""What a VPC is to each subsystem; where only interfaces of other hosts change, little is translated again."""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stead_agent.dhcp.interface import VpcDhcp
from stead_agent.endpoints.interface import Endpoint
from stead_agent.firewall.interface import Group, VpcFirewall
from stead_agent.flow_logs.interface import VpcFlowLogs
from stead_agent.network.interface import VpcNetwork
from stead_agent.reconcile import translate_vpc
from stead_agent.reconcile.plan import VpcContents
from stead_agent.reconcile.translate_vpc import Beyond, VpcSettings
from stead_agent.replacing import replacer
from stead_proto.v1.desired_pb2 import Resource

# For each place elsewhere that is new.
_with_remotes: Final = replacer(VpcNetwork, "remotes")
_with_groups: Final = replacer(VpcFirewall, "groups")
_with_names: Final = replacer(VpcDhcp, "names")
_with_other_members: Final = replacer(Group, "members")


@dataclass(frozen=True, slots=True)
class DrawnVpc:
    """A VPC in the words of all subsystems."""

    network: VpcNetwork
    owners: Mapping[str, str]  # by address
    peers: frozenset[str]
    firewall: VpcFirewall
    flow_logs: VpcFlowLogs
    dhcp: VpcDhcp
    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class _Last:
    """What was drawn last, and of what."""

    vpc: Resource
    contents: VpcContents
    beyond: Beyond
    settings: VpcSettings
    drawn: DrawnVpc


class Drawings:
    """The last drawing of each VPC; threads may use it at once for different VPCs, never for the same one."""

    def __init__(self, namespace_of: Callable[[str], Path]) -> None:
        """Give the file of the namespace of a VPC, an endpoint or an endpoint's interface."""
        self._namespace_of = namespace_of
        self._memory = translate_vpc.Memory()
        self._last: dict[str, _Last] = {}

    def of(self, vpc: Resource, contents: VpcContents, beyond: Beyond, settings: VpcSettings) -> DrawnVpc:
        """Draw a VPC; the same objects as last time are taken to be unchanged."""
        last = self._last.get(vpc.id)
        if (
            last is not None
            and last.vpc is vpc
            and last.contents is contents
            and last.settings == settings
            and _only_places_differ(last.beyond, beyond)
        ):
            drawn = _with_places(last.drawn, beyond)
        else:
            drawn = self._draw(vpc, contents, beyond, settings)
        if contents.leaves:
            self._last.pop(vpc.id, None)  # nothing is kept of what goes
        else:
            self._last[vpc.id] = _Last(vpc, contents, beyond, settings, drawn)
        return drawn

    def forget(self, resource_id: str) -> None:
        """Forget what a resource was translated to, which may be a VPC."""
        self._memory.forget(resource_id)
        self._last.pop(resource_id, None)

    def _draw(self, vpc: Resource, contents: VpcContents, beyond: Beyond, settings: VpcSettings) -> DrawnVpc:
        owners, peers = translate_vpc.vpc_owners(contents)
        return DrawnVpc(
            network=translate_vpc.vpc_network(vpc, contents, beyond, settings, self._memory),
            owners=owners,
            peers=peers,
            firewall=translate_vpc.vpc_firewall(vpc, contents, beyond, self._memory),
            flow_logs=translate_vpc.vpc_flow_logs(vpc, contents),
            dhcp=translate_vpc.vpc_dhcp(
                vpc, contents, beyond, settings, self._memory, namespace=self._namespace_of(vpc.id)
            ),
            endpoints=translate_vpc.vpc_endpoints(contents, self._namespace_of),
        )


def _only_places_differ(before: Beyond, now: Beyond) -> bool:
    """Tell whether two differ in nothing but where interfaces are, their names, and who is in which group."""
    return before.peers == now.peers and before.routers == now.routers and before.members.keys() == now.members.keys()


def _with_places(drawn: DrawnVpc, beyond: Beyond) -> DrawnVpc:
    groups = tuple(_with_members(each, beyond.members.get(each.id, each.members)) for each in drawn.firewall.groups)
    return DrawnVpc(
        network=_with_remotes(drawn.network, beyond.remotes),
        owners=drawn.owners,
        peers=drawn.peers,
        firewall=_with_groups(drawn.firewall, groups),
        flow_logs=drawn.flow_logs,
        dhcp=_with_names(drawn.dhcp, beyond.names),
        endpoints=drawn.endpoints,
    )


def _with_members(group: Group, members: AbstractSet[str]) -> Group:
    return group if members is group.members else _with_other_members(group, members)
