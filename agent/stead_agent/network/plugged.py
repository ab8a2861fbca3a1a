"""Namespaces plugged into subnets like guests: NAT gateways, and interfaces of interface endpoints.

Created, audited and removed with the VPC's lock held. Each is identified by the alias of its link only.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from stead_agent.network import namespace_rules
from stead_agent.network.desired_objects import owner_of
from stead_agent.network.interface import VpcNetwork
from stead_agent.network.kernel_objects import Bridge, KernelObject
from stead_agent.network.namespaces import Namespaces
from stead_agent.network.observe import HostView, observe_namespace, view_host
from stead_agent.network.plan import Remove, Step, plan
from stead_agent.network.rtnetlink import Kernel, with_kernel


@dataclass(frozen=True, slots=True)
class Plug:
    """The desired state of a namespace; its nft rules are exactly `rules`."""

    tap: str
    objects: list[KernelObject]
    rules: str = ""


@dataclass(frozen=True, slots=True)
class _Applied:
    """What was applied to a namespace, and its rules as the kernel lists them."""

    wanted: Plug
    listed: bytes


class Plugged:
    """All of one kind on a host. Those of one VPC are handled by one thread at a time; VPCs are independent."""

    def __init__(self, namespaces: Namespaces, prefix: str, draw: Callable[[VpcNetwork], dict[str, Plug]]) -> None:
        """Their names begin with `prefix`; `draw` returns those of a VPC, by name."""
        self._namespaces = namespaces
        self._prefix = prefix
        self._draw = draw
        self._applied: dict[str, dict[str, _Applied]] = {}  # by VPC and name

    def apply(self, vpc: VpcNetwork) -> None:
        """Bring those of a VPC into exactly this state; its subnets' bridges must exist."""
        known = self._applied.get(vpc.vpc_id)
        found = self._draw(vpc)
        if known is None and not found and not self._namespaces.listed(self._prefix):
            return
        if known is None:
            known = self._applied[vpc.vpc_id] = {}
            self._remove_all(self._of(vpc.vpc_id) - found.keys())
        for name in known.keys() - found.keys():
            self._remove_all({name})
            del known[name]
        for name, wanted in found.items():
            before = known.get(name)
            if before is None or before.wanted != wanted:
                known.pop(name, None)
                known[name] = self._make(name, wanted)[0]

    def audit(self, vpc_id: str) -> list[str]:
        """Read those of a VPC again and repair them; return what was repaired."""
        repaired: list[str] = []
        for name, before in list(self._applied.get(vpc_id, {}).items()):
            is_same = self._namespaces.exists(name) and self._list(name) == before.listed
            after, steps = self._make(name, before.wanted, None if not is_same else before.listed)
            self._applied[vpc_id][name] = after
            repaired += [f"{name}: {step}" for step in steps] + ([] if is_same else [f"{name}: rules"])
        return repaired

    def remove(self, vpc_id: str) -> None:
        """Remove those of a VPC; their links may be gone already."""
        self._remove_all(self._applied.pop(vpc_id, {}).keys() | self._of(vpc_id))

    def remove_orphans(self, view: HostView) -> None:
        """Remove those that a crash left without a link: only the link's alias names the VPC they belong to."""
        owned = {self._named(link.alias) for link in view.links.values()}
        self._remove_all(self._namespaces.listed(self._prefix) - owned)

    def _named(self, alias: str) -> str | None:
        """Return the name in a link's alias, or None when it is of another kind."""
        last = alias.rpartition(" ")[2]
        return last if last.startswith(self._prefix) else None

    def _make(self, name: str, wanted: Plug, listed: bytes | None = None) -> tuple[_Applied, list[Step]]:
        """Apply one, its rules (unless `listed` shows that they are right) before its link."""
        self._namespaces.create(name)
        if listed is None:
            namespace_rules.replace(self._namespaces.path(name), wanted.rules)
            listed = self._list(name)
        steps = with_kernel(self._namespaces, name, lambda kernel: _make_links(kernel, wanted))
        return _Applied(wanted, listed), steps

    def _of(self, vpc_id: str) -> set[str]:
        """List those of a VPC that have links here."""
        view = with_kernel(self._namespaces, None, view_host)
        found = {self._named(link.alias) for link in view.links.values() if owner_of(link.alias) == vpc_id}
        return {name for name in found if name}

    def _remove_all(self, names: Iterable[str]) -> None:
        """Remove some; their remaining links first, since it is not known when the kernel frees a namespace."""
        gone = set(names)
        if not gone:
            return

        def remove_links(kernel: Kernel) -> None:
            for link in view_host(kernel).links.values():
                if self._named(link.alias) in gone:
                    kernel.carry_out(Remove(Bridge(link.name, link.alias, link.mtu)))

        with_kernel(self._namespaces, None, remove_links)
        for name in gone:
            self._namespaces.delete(name)

    def _list(self, name: str) -> bytes:
        return namespace_rules.listed(self._namespaces.path(name))


def _make_links(kernel: Kernel, wanted: Plug) -> list[Step]:
    view = view_host(kernel)
    mine = {index: link for index, link in view.links.items() if link.name == wanted.tap}
    steps = plan(observe_namespace(kernel, view, mine, wanted.objects), wanted.objects)
    for step in steps:
        kernel.carry_out(step)
    return steps
