"""The network on this machine's kernel: remembers what it applied, so that a small change costs little."""

import socket
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from stead_agent import findings
from stead_agent.logs import Log
from stead_agent.named_locks import NamedLocks
from stead_agent.network import endpoint_interface, gateway_counters, nat_gateway, traffic_counters
from stead_agent.network.bandwidth import limited, shaper_names, shapers_of
from stead_agent.network.capture import capture
from stead_agent.network.desired_objects import choose_inner_address, default_host_address, host_objects, masqueraded
from stead_agent.network.endpoints import Endpoints
from stead_agent.network.interface import (
    ENDPOINT_PREFIX,
    OVERLAY_LINK,
    PEER_PREFIX,
    GatewayCounters,
    HostNetwork,
    HostPaths,
    LocalInterface,
    NetworkError,
    Peer,
    Touched,
    VpcNetwork,
    tap_name,
)
from stead_agent.network.kernel_objects import (
    Bridge,
    KernelObject,
    Neighbour,
    PeerLink,
    Place,
    Setting,
    Vxlan,
    is_ipv6,
)
from stead_agent.network.look import look
from stead_agent.network.namespaces import GATEWAY_PREFIX, INTERFACE_PREFIX, Namespaces
from stead_agent.network.notices import HOST
from stead_agent.network.observe import HostView, observe_host, observe_remains, observe_vpc, settings_of, view_host
from stead_agent.network.overlay import OVERHEAD
from stead_agent.network.plan import Change, Remove, Step, plan
from stead_agent.network.plugged import Plugged
from stead_agent.network.rtnetlink import Kernel, with_kernel
from stead_agent.network.taps import damaged
from stead_agent.network.wanted import Wanted, steps_between, wanted_of
from stead_agent.network.watch import Watch


@dataclass(frozen=True, slots=True)
class _Applied:
    """What was applied to the kernel for a VPC."""

    desired: VpcNetwork
    wanted: Wanted


@dataclass(frozen=True, slots=True)
class _Host:
    """What was applied to the host, and what was found out about it."""

    desired: HostNetwork
    paths: HostPaths


_log = Log(__name__)


class KernelNetwork:
    """The `Network` of real hosts."""

    def __init__(self, namespaces: Namespaces) -> None:
        self.namespaces = namespaces
        self._lock = threading.Lock()  # guards the dictionaries below, never held during work
        self._host_lock = threading.Lock()
        self._vpc_locks = NamedLocks()
        self._desired: dict[
            str, VpcNetwork
        ] = {}  # the last desired states, whether or not they were applied successfully
        self._settled: set[str] = set()  # VPCs whose last apply completed, including that of their peers
        self._applied: dict[str, _Applied] = {}
        # Indexes of guests' taps, by VPC and name, once they are as desired: libvirt may still be making any other.
        self._settled_taps: dict[str, dict[str, int]] = {}
        self._inner_addresses: dict[str, str] = {}
        self._plugged = (
            Plugged(namespaces, GATEWAY_PREFIX, nat_gateway.draw),
            Plugged(namespaces, INTERFACE_PREFIX, endpoint_interface.draw),
        )
        self._endpoints = Endpoints(namespaces)
        self._host: _Host | None = None
        self._first_view: HostView | None = None  # the host's state when this agent started
        self._touched: set[str] = set()  # VPCs for which that is outdated
        self._watch = Watch(namespaces, self._vpc_of_tap)

    # --- the host

    def apply_host(self, host: HostNetwork) -> HostPaths:
        """Bring the host's own part into the desired state; update VPCs applied before if their way out changed."""
        paths, _ = self._apply_host(host)
        return paths

    def _apply_host(self, host: HostNetwork) -> tuple[HostPaths, list[Step]]:
        with self._host_lock:
            before = self._host
            paths, steps = self._with_kernel(None, lambda kernel: self._make_host(kernel, host))
        if before is not None and before.paths != paths:
            with self._lock:
                vpcs = list(self._applied)
            for vpc_id in vpcs:
                self._again(vpc_id, is_known=True)
        return paths, steps

    def _make_host(self, kernel: Kernel, host: HostNetwork) -> tuple[HostPaths, list[Step]]:
        view = view_host(kernel)
        if self._host is None:
            with self._lock:
                self._inner_addresses |= view.inner_addresses()
            self._first_view = view
            for link in view.half_made():
                kernel.carry_out(Remove(Bridge(link.name, "", 0)))
                del view.links[link.index]
            for plugged in self._plugged:
                plugged.remove_orphans(view)
            self._endpoints.remove_orphans()
        paths = _find_paths(kernel, view, host)
        wanted = host_objects(host, paths)
        steps = plan(observe_host(kernel, view, wanted), wanted)
        for step in steps:
            kernel.carry_out(step)
        self._host = _Host(host, paths)
        return paths, steps

    # --- one VPC

    def apply(self, vpc: VpcNetwork) -> None:
        """Bring the VPC into exactly this state; only differences from the last time are sent to the kernel."""
        if self._host is None:
            raise NetworkError("apply_host must come first")
        with self._vpc_locks.at(vpc.vpc_id):
            with self._lock:
                desired = self._desired.get(vpc.vpc_id)
                self._desired[vpc.vpc_id] = vpc
                is_settled = vpc.vpc_id in self._settled
                self._settled.discard(vpc.vpc_id)
            others = self._apply(vpc, self._host.paths)
        if not is_settled or desired is None or desired.peers != vpc.peers:
            others |= {peer.vpc_id for peer in (*vpc.peers, *(desired.peers if desired else ()))}
        self._update_peers(vpc.vpc_id, others)
        with self._lock:
            self._settled.add(vpc.vpc_id)

    def _apply(self, vpc: VpcNetwork, paths: HostPaths) -> set[str]:
        """Apply the VPC with its lock held; return the peers whose ends of pairs were added or removed by it."""
        is_new = self.namespaces.create(vpc.vpc_id)
        if is_new or vpc.vpc_id not in self._applied:
            self._watch.follow(vpc.vpc_id, {vpc.vpc_id})
            traffic_counters.ensure(self.namespaces, vpc.vpc_id)
        before = None if is_new else self._applied.get(vpc.vpc_id)
        inner, peers = self._inner_address(vpc.vpc_id), self._joinable(vpc) | self._endpoints.prepare(vpc)
        wanted = wanted_of(vpc, paths, inner, peers, before.wanted if before else None)
        steps = steps_between(before.wanted, wanted) if before else None
        limits = _limited_anew(before.desired, vpc) if before else []
        if steps != [] or limits:
            # Until it is done the kernel's state is unknown: after an error the next apply reads it from the kernel.
            self._forget(vpc.vpc_id)
            with self._watch.own(vpc.vpc_id):
                steps = self._with_kernel(vpc.vpc_id, lambda kernel: self._carry_out(kernel, vpc, steps, wanted))
                if limits:
                    self._note_taps(vpc, self._with_kernel(None, lambda kernel: _limit(kernel, limits)))
        for plugged in self._plugged:
            plugged.apply(vpc)
        self._endpoints.apply(vpc)
        self._watch.follow(vpc.vpc_id, _namespaces_of(vpc))
        with self._lock:
            self._applied[vpc.vpc_id] = _Applied(vpc, wanted)
        return _peers_of(steps) | ({peer.vpc_id for peer in vpc.peers} if is_new else set())

    def _carry_out(self, kernel: Kernel, vpc: VpcNetwork, steps: list[Step] | None, wanted: Wanted) -> list[Step]:
        """Do the steps; when the current state is unknown, read it first, and the whole host only if necessary."""
        with self._lock:
            view = None if vpc.vpc_id in self._touched else self._first_view
            self._touched.add(vpc.vpc_id)
        if steps is not None:
            kernel.carry_out_all(steps)
            return steps
        objects = wanted.everything()
        view = view or view_host(kernel)
        steps = plan(observe_vpc(kernel, view, vpc.vpc_id, objects), objects)
        kernel.carry_out_all(steps)
        # A bridge that was recreated has lost the taps.
        view = view_host(kernel) if steps else view
        kernel.carry_out_all(_damaged(kernel, vpc, view))
        self._note_taps(vpc, _taps_of(vpc, view))
        return steps

    def settle(self, vpc_id: str, interface_ids: AbstractSet[str]) -> None:
        """Limit the taps of these interfaces to their instances' bandwidth; those missing are ignored."""
        with self._vpc_locks.at(vpc_id):
            applied = self._applied.get(vpc_id)
            if applied is None:  # its next apply settles all
                return
            found = [each for each in applied.desired.interfaces if each.id in interface_ids]
            self._note_taps(applied.desired, self._with_kernel(None, lambda kernel: _limit(kernel, found)))

    def _note_taps(self, vpc: VpcNetwork, settled: Mapping[str, int]) -> None:
        """Remember taps that are as desired now, and forget those of interfaces that the VPC no longer has."""
        names = {tap_name(each.id) for each in vpc.interfaces}
        known = self._settled_taps.get(vpc.vpc_id, {}) | dict(settled)
        self._settled_taps[vpc.vpc_id] = {name: index for name, index in known.items() if name in names}

    # --- peers

    def _joinable(self, vpc: VpcNetwork) -> dict[str, int]:
        """List the known peers that have a namespace and also want to be joined, with their namespaces' identities."""
        with self._lock:
            peers = {peer.vpc_id: self._desired.get(peer.vpc_id) for peer in vpc.peers}
        found: dict[str, int] = {}
        for peer in vpc.peers:
            identity = self.namespaces.identity(peer.vpc_id)
            theirs = peers[peer.vpc_id]
            is_mutual = theirs is None or _peer_of(theirs.peers, peer, vpc.vpc_id)
            if identity is not None and is_mutual:
                found[peer.vpc_id] = identity
        return found

    def _update_peers(self, vpc_id: str, others: Iterable[str]) -> None:
        """Apply the peers of a VPC again after their ends of pairs changed."""
        for other in others:
            with self._lock:
                desired = self._desired.get(other)
            if desired is not None and any(peer.vpc_id == vpc_id for peer in desired.peers):
                self._again(other, is_known=False)

    def _again(self, vpc_id: str, *, is_known: bool) -> None:
        """Apply the last desired state once more; unless `is_known`, the current state is read from the kernel."""
        with self._vpc_locks.at(vpc_id):
            with self._lock:
                desired = self._desired.get(vpc_id)
            if desired is None or self._host is None:
                return
            if not is_known:
                self._forget(vpc_id)
            self._apply(desired, self._host.paths)

    # --- the end of a VPC, and what exists

    def remove(self, vpc_id: str) -> None:
        """Remove the VPC's links (its addresses, routes and neighbours go with them) and the name of its namespace."""
        with self._vpc_locks.at(vpc_id):
            self._forget(vpc_id)
            self._settled_taps.pop(vpc_id, None)
            with self._lock:
                self._touched.add(vpc_id)
                self._desired.pop(vpc_id, None)
                self._settled.discard(vpc_id)
                others = [
                    desired.vpc_id
                    for desired in self._desired.values()
                    if vpc_id in {it.vpc_id for it in desired.peers}
                ]
            self._watch.follow(vpc_id, frozenset())
            for plugged in self._plugged:
                plugged.remove(vpc_id)
            self._endpoints.remove(vpc_id)
            if self.namespaces.exists(vpc_id):
                # If a process keeps the namespace alive, it must have no tunnel and no link to a peer.
                self._with_kernel(vpc_id, _remove_inner_links)
            self._with_kernel(None, lambda kernel: _remove_remains(kernel, vpc_id))
            self.namespaces.delete(vpc_id)
        with self._lock:
            self._inner_addresses.pop(vpc_id, None)
            if self._first_view and vpc_id not in self._first_view.owners():
                self._touched.discard(vpc_id)  # unknown again
        self._update_peers(vpc_id, others)

    def present(self) -> frozenset[str]:
        """List the VPCs that have a namespace or a link."""
        return self.namespaces.names() | self._with_kernel(None, view_host).owners()

    def audit(self, touched: AbstractSet[str] | None = None) -> tuple[str, ...]:
        """Read again and repair; a restored neighbour entry is not reported, since DHCP replaces them."""
        if self._host is None:
            return ()
        drift: list[Step] = []
        if touched is None or HOST in touched:
            _, drift = self._apply_host(self._host.desired)
            if drift:
                touched = None  # removing a host address removes VPCs' routes, and the kernel sends no events for that
        view = self._with_kernel(None, view_host)
        with self._lock:
            vpcs = [vpc_id for vpc_id in self._desired if touched is None or vpc_id in touched]
        repaired: list[str] = []
        for vpc_id in vpcs:
            try:
                with self._vpc_locks.at(vpc_id):
                    if made := self._endpoints.restore(vpc_id):
                        repaired += made
                        self._forget(vpc_id)  # it is joined to different peers now
                    drift += self._audit_vpc(vpc_id, view)
                    repaired += traffic_counters.ensure(self.namespaces, vpc_id)
                    for plugged in self._plugged:
                        repaired += plugged.audit(vpc_id)
                    repaired += self._endpoints.audit(vpc_id)
            except (NetworkError, OSError) as error:  # the other VPCs must not wait for it; it is tried again
                _log.warning("vpc_not_repaired", vpc=vpc_id, reason=str(error))
        return (*(str(step) for step in drift if not isinstance(getattr(step, "obj", None), Neighbour)), *repaired)

    def _audit_vpc(self, vpc_id: str, view: HostView) -> list[Step]:
        applied, desired = self._applied.get(vpc_id), self._desired.get(vpc_id)
        if applied is None:
            if desired is not None and self._host is not None:  # the last apply failed
                self._apply(desired, self._host.paths)
            return []
        self.namespaces.create(vpc_id)
        self._watch.follow(vpc_id, _namespaces_of(applied.desired))

        settled = self._settled_taps.get(vpc_id, {})

        def compare(kernel: Kernel) -> list[Step]:
            objects = applied.wanted.everything()
            taps = _damaged(kernel, applied.desired, view, settled)
            if not taps and not plan(observe_vpc(kernel, view, vpc_id, objects), objects):
                return []
            # The view was read for all VPCs at once, some time ago: read again before a repair.
            now = view_host(kernel)
            steps = plan(observe_vpc(kernel, now, vpc_id, objects), objects)
            kernel.carry_out_all(steps)
            taps = _damaged(kernel, applied.desired, view_host(kernel), settled)
            kernel.carry_out_all(taps)
            return [*steps, *taps]

        self._forget(vpc_id)
        with self._watch.own(vpc_id):
            steps = self._with_kernel(vpc_id, compare)
        with self._lock:
            self._applied[vpc_id] = applied
        return steps

    def subscribe(self, report: Callable[[Touched], None]) -> Callable[[], None]:
        """Have `report` called, from another thread, when another program may have changed something."""
        self._watch.start(report)
        return self._watch.stop

    def unsettled(self) -> frozenset[str]:
        """List the VPCs, "" for the host's own part, of which a sysctl differs from what was applied."""
        host = self._host
        if host is None:
            return frozenset()
        found = set()
        if self._with_kernel(None, lambda kernel: _differ(kernel, host_objects(host.desired, host.paths))):
            found.add(HOST)
        with self._lock:
            vpcs = dict(self._applied)
        for vpc_id, applied in vpcs.items():
            try:
                if self._with_kernel(vpc_id, partial(_differ, objects=applied.wanted.objects)):
                    found.add(vpc_id)
            except OSError:  # its namespace is gone: that is a difference too, unless it is being removed
                found.add(vpc_id)
        return frozenset(found)

    def _vpc_of_tap(self, tap: str) -> str | None:
        """Return the VPC of a guest's tap or shaper; called only when one was damaged."""
        with self._lock:
            desired = list(self._desired.values())
        for vpc in desired:
            shapers = {name for it in limited(vpc).values() for name in shaper_names(it)}
            if tap in shapers or any(tap == tap_name(it.id) for it in vpc.interfaces):
                return vpc.vpc_id
        return None

    # --- for other subsystems

    def look(self, path: findings.Path) -> list[findings.Finding]:
        """List the links and the route that an interface's packets use in the kernel."""
        return look(self.namespaces, path)

    def capture(self, interface_id: str, seconds: float, packets: int, snap_length: int) -> bytes:
        """Return the packets of an interface of this host as a pcap file."""
        link = tap_name(interface_id)
        return self.namespaces.inside(None, lambda: capture(link, seconds, packets, snap_length))

    def traffic(self, vpc_ids: Collection[str] | None) -> Mapping[str, Mapping[tuple[str, str, str], int]]:
        """Return what has passed the borders of VPCs that are here."""
        return traffic_counters.read(self.namespaces, self.namespaces.names() if vpc_ids is None else vpc_ids)

    def gateway_counters(self, gateway_ids: Iterable[str]) -> Mapping[str, GatewayCounters]:
        """Return the counters of those of these NAT gateways that are here."""
        return gateway_counters.read(self.namespaces, gateway_ids)

    def namespace_path(self, vpc_id: str) -> Path:
        """Return the file by which a process enters the VPC's namespace."""
        return self.namespaces.path(vpc_id)

    def socket(
        self, vpc_id: str, family: socket.AddressFamily, kind: socket.SocketKind, protocol: int = 0
    ) -> socket.socket:
        """Create a socket inside the VPC's namespace."""
        return self.namespaces.inside(vpc_id, lambda: socket.socket(family, kind, protocol))

    # --- internal

    def _forget(self, vpc_id: str) -> None:
        with self._lock:
            self._applied.pop(vpc_id, None)

    def _inner_address(self, vpc_id: str) -> str:
        with self._lock:
            if vpc_id not in self._inner_addresses:
                taken = frozenset(self._inner_addresses.values())
                self._inner_addresses[vpc_id] = choose_inner_address(vpc_id, taken)
            return self._inner_addresses[vpc_id]

    def _with_kernel[T](self, vpc_id: str | None, work: Callable[[Kernel], T]) -> T:
        return with_kernel(self.namespaces, vpc_id, work)


def _differ(kernel: Kernel, objects: Iterable[KernelObject]) -> bool:
    """Tell whether one of the settings among these objects differs from its desired value."""
    settings = [obj for obj in objects if isinstance(obj, Setting)]
    return set(settings_of(kernel, settings)) != set(settings)


def _limit(kernel: Kernel, interfaces: Iterable[LocalInterface]) -> dict[str, int]:
    """Redirect the taps of interfaces to the shapers of their instances; return the indexes of those that are there."""
    found = {tap_name(each.id): kernel.limit(tap_name(each.id), *shapers_of(each)) for each in interfaces}
    return {name: index for name, index in found.items() if index is not None}


def _limited_anew(before: VpcNetwork, after: VpcNetwork) -> list[LocalInterface]:
    """List the interfaces that other shapers, or none, are for now: their taps may be there already."""
    known = {each.id: shapers_of(each) for each in before.interfaces}
    return [each for each in after.interfaces if shapers_of(each) != known.get(each.id, ("", ""))]


def _damaged(kernel: Kernel, vpc: VpcNetwork, view: HostView, settled: Mapping[str, int] | None = None) -> list[Change]:
    """List the changes that repair the taps of a VPC: all, or those that were as desired before (`settled`).

    One that nobody has settled yet is being made by libvirt, and gets its limits when that is done.
    """
    taps = _taps_of(vpc, view)
    unsettled = set() if settled is None else set(taps.values()) - set(settled.values())
    links = [link for index, link in view.links.items() if index not in unsettled]
    return list(damaged(vpc, links, {each: kernel.redirects(each) for each in taps.values() if each not in unsettled}))


def _taps_of(vpc: VpcNetwork, view: HostView) -> dict[str, int]:
    """Return the indexes of the taps of a VPC's interfaces that are there, by name."""
    names = {tap_name(each.id) for each in vpc.interfaces}
    return {link.name: index for index, link in view.links.items() if link.name in names}


def _namespaces_of(vpc: VpcNetwork) -> set[str]:
    """Return the names of the namespaces of a VPC."""
    gateways, endpoints = (it.id for it in vpc.nat_gateways), (it.id for it in vpc.endpoints)
    return {vpc.vpc_id, *gateways, *endpoints, *vpc.endpoint_interfaces}


def _peer_of(peers: Iterable[Peer], peer: Peer, vpc_id: str) -> bool:
    """Tell whether a VPC's peers include this VPC with the same peering."""
    return any(it.vpc_id == vpc_id and it.peering_id == peer.peering_id for it in peers)


def _peers_of(steps: Iterable[Step] | None) -> set[str]:
    """Return the peers whose pairs these steps created or removed."""
    objects = [step.obj for step in steps or () if not isinstance(step, Change)]
    return {obj.peer for obj in objects if isinstance(obj, PeerLink)}


def _remove_inner_links(kernel: Kernel) -> None:
    """Remove the links of a VPC's namespace that are not removed together with the host's links."""
    for link in kernel.links(Place.VPC):
        if link.name == OVERLAY_LINK:
            kernel.carry_out(Remove(Vxlan(link.name, 0, "", "", 0)))
        elif link.name.startswith((PEER_PREFIX, ENDPOINT_PREFIX)):
            kernel.carry_out(Remove(PeerLink(link.name, "", "", 0, "", 0)))


def _remove_remains(kernel: Kernel, vpc_id: str) -> None:
    """Remove all that the host's namespace has of a VPC; the other ends of its pairs are removed with it."""
    for step in plan(observe_remains(view_host(kernel), vpc_id), []):
        kernel.carry_out(step)


def _find_paths(kernel: Kernel, view: HostView, host: HostNetwork) -> HostPaths:
    """Find out how the host reaches the Internet, if that is allowed."""
    named = None if host.uplink == "none" else host.uplink
    uplink = kernel.default_link() if host.uplink == "auto" else named
    index = next((link.index for link in view.links.values() if link.name == uplink), None)
    if uplink is not None and index is None:
        raise NetworkError(f"the uplink {uplink} is not there")
    networks = [address for owner, address in view.addresses if owner == index and not is_ipv6(address)]
    return HostPaths(
        uplink=uplink,
        host_address=host.host_address or default_host_address(host.public_pools),
        masqueraded_pools=masqueraded(host.public_pools, networks),
        is_router=kernel.value("net/ipv4/ip_forward") == "1",
        underlay_address=host.underlay_address,
        overlay_mtu=_overlay_mtu(view, host.underlay_address),
        has_ipv6_by_link=kernel.value("net/ipv6/conf/all/force_forwarding") is not None,
    )


def _overlay_mtu(view: HostView, underlay_address: str) -> int:
    """Return the largest packet size in the overlay; 0 while no link has the underlay's address."""
    owners = [index for index, address in view.addresses if address.partition("/")[0] == underlay_address]
    return min((view.links[index].mtu - OVERHEAD for index in owners if index in view.links), default=0)
