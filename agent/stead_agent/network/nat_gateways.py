"""The NAT gateways of this host: a namespace each, made, looked after and removed with the VPC's lock held."""

from collections.abc import Iterable
from dataclasses import dataclass

from stead_agent.network.interface import NatGateway, NetworkError, VpcNetwork, tap_name
from stead_agent.network.namespaces import Namespaces
from stead_agent.network.nat_gateway import gateway_of, gateway_things, gateways_of, ruleset
from stead_agent.network.observe import HostView, observe_namespace, view_host
from stead_agent.network.picture import owner_of
from stead_agent.network.plan import Remove, Step, plan
from stead_agent.network.rtnetlink import Kernel, with_kernel
from stead_agent.network.things import Bridge, Thing
from stead_agent.run import RunError, run

_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a gateway is to be."""

    tap: str
    things: list[Thing]
    rules: str


@dataclass(frozen=True, slots=True)
class _Applied:
    """What a gateway was made to be, and its rules as the kernel tells them."""

    wanted: _Wanted
    listed: bytes


class NatGateways:
    """All of a host. One VPC's gateways are worked at by one thread at a time; VPCs do not meet."""

    def __init__(self, namespaces: Namespaces) -> None:
        self._namespaces = namespaces
        self._applied: dict[str, dict[str, _Applied]] = {}  # by VPC and gateway

    def apply(self, vpc: VpcNetwork) -> None:
        """Make the VPC's gateways exactly so; its subnets' bridges are there already."""
        known = self._applied.get(vpc.vpc_id)
        found = gateways_of(vpc)
        if known is None and not found and not self._namespaces.gateways():
            return
        if known is None:
            known = self._applied[vpc.vpc_id] = {}
            self._remove_all(self._of(vpc.vpc_id) - found.keys())
        for gateway_id in known.keys() - found.keys():
            self._remove_all({gateway_id})
            del known[gateway_id]
        for gateway_id, (interface, subnet) in found.items():
            things = gateway_things(vpc, NatGateway(gateway_id, interface.id), interface, subnet)
            wanted = _Wanted(tap_name(interface.id), things, ruleset(vpc, interface))
            before = known.get(gateway_id)
            if before is None or before.wanted != wanted:
                known.pop(gateway_id, None)
                known[gateway_id] = self._make(gateway_id, wanted)[0]

    def audit(self, vpc_id: str) -> list[str]:
        """Read a VPC's gateways again and repair them; tell what that was."""
        told: list[str] = []
        for gateway_id, before in list(self._applied.get(vpc_id, {}).items()):
            is_same = self._namespaces.exists(gateway_id) and self._list(gateway_id) == before.listed
            after, steps = self._make(gateway_id, before.wanted, None if not is_same else before.listed)
            self._applied[vpc_id][gateway_id] = after
            told += [f"{gateway_id}: {step}" for step in steps] + ([] if is_same else [f"{gateway_id}: rules"])
        return told

    def remove(self, vpc_id: str) -> None:
        """Remove the VPC's gateways; their links may be gone already."""
        self._remove_all(self._applied.pop(vpc_id, {}).keys() | self._of(vpc_id))

    def remove_orphans(self, view: HostView) -> None:
        """Remove gateways that a crash left without a link, which alone says whose they are."""
        owned = {gateway_of(link.alias) for link in view.links.values()}
        self._remove_all(self._namespaces.gateways() - owned)

    def _make(self, gateway_id: str, wanted: _Wanted, listed: bytes | None = None) -> tuple[_Applied, list[Step]]:
        """Make a gateway so, its rules (unless `listed` says they are right) before its link."""
        self._namespaces.create(gateway_id)
        if listed is None:
            self._run(gateway_id, "-f", "-", stdin=wanted.rules)
            listed = self._list(gateway_id)
        steps = with_kernel(self._namespaces, gateway_id, lambda kernel: _make_links(kernel, wanted))
        return _Applied(wanted, listed), steps

    def _of(self, vpc_id: str) -> set[str]:
        """List the VPC's gateways that have links here."""
        view = with_kernel(self._namespaces, None, view_host)
        found = {gateway_of(link.alias) for link in view.links.values() if owner_of(link.alias) == vpc_id}
        return {gateway_id for gateway_id in found if gateway_id}

    def _remove_all(self, gateway_ids: Iterable[str]) -> None:
        """Remove gateways; what of the links is still there goes first, since a namespace dies when it likes."""
        gone = set(gateway_ids)
        if not gone:
            return

        def remove_links(kernel: Kernel) -> None:
            for link in view_host(kernel).links.values():
                if gateway_of(link.alias) in gone:
                    kernel.carry_out(Remove(Bridge(link.name, link.alias, link.mtu)))

        with_kernel(self._namespaces, None, remove_links)
        for gateway_id in gone:
            self._namespaces.delete(gateway_id)

    def _list(self, gateway_id: str) -> bytes:
        return self._run(gateway_id, "--stateless", "list", "ruleset")

    def _run(self, gateway_id: str, *words: str, stdin: str = "") -> bytes:
        entered = ["nsenter", f"--net={self._namespaces.path(gateway_id)}", "nft", *words]
        try:
            return run(entered, timeout=_SECONDS, stdin=stdin.encode()).stdout
        except RunError as error:
            raise NetworkError(str(error)) from error


def _make_links(kernel: Kernel, wanted: _Wanted) -> list[Step]:
    view = view_host(kernel)
    mine = {index: link for index, link in view.links.items() if link.name == wanted.tap}
    steps = plan(observe_namespace(kernel, view, mine, wanted.things), wanted.things)
    for step in steps:
        kernel.carry_out(step)
    return steps
