"""The network on this machine's kernel: remembers what it applied, so that a small change is a small work."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

from stead_agent.network.capture import capture
from stead_agent.network.interface import HostNetwork, HostPaths, NetworkError, VpcNetwork, tap_name
from stead_agent.network.namespaces import Namespaces, on_a_thread
from stead_agent.network.observe import HostView, observe_host, observe_remains, observe_vpc, view_host
from stead_agent.network.overlay import OVERHEAD
from stead_agent.network.picture import choose_inner_address, default_host_address, host_things, masqueraded
from stead_agent.network.plan import Remove, Step, plan
from stead_agent.network.rtnetlink import Kernel
from stead_agent.network.things import Bridge, Neighbour, is_ipv6
from stead_agent.network.wanted import Wanted, steps_between, wanted_of


@dataclass(frozen=True, slots=True)
class _Applied:
    """What the kernel was made to be."""

    picture: VpcNetwork
    wanted: Wanted


@dataclass(frozen=True, slots=True)
class _Host:
    """What the host was made to be, and what was found out about it."""

    picture: HostNetwork
    paths: HostPaths


class KernelNetwork:
    """The `Network` of real machines."""

    def __init__(self, namespaces: Namespaces) -> None:
        self.namespaces = namespaces
        self._lock = threading.Lock()  # guards the dictionaries below, never held during work
        self._host_lock = threading.Lock()
        self._vpc_locks: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()  # those in use
        self._applied: dict[str, _Applied] = {}
        self._inner_addresses: dict[str, str] = {}
        self._host: _Host | None = None
        self._first_view: HostView | None = None  # what was there when this agent began
        self._touched: set[str] = set()  # VPCs of which that is no longer the truth

    # --- the host

    def apply_host(self, host: HostNetwork) -> HostPaths:
        """Make the host's own part so; VPCs that were applied before follow when their way out changed."""
        paths, _ = self._apply_host(host)
        return paths

    def _apply_host(self, host: HostNetwork) -> tuple[HostPaths, list[Step]]:
        with self._host_lock:
            before = self._host
            paths, steps = self._with_kernel(None, lambda kernel: self._make_host(kernel, host))
        if before is not None and before.paths != paths:
            with self._lock:
                pictures = [applied.picture for applied in self._applied.values()]
            for picture in pictures:
                self.apply(picture)
        return paths, steps

    def _make_host(self, kernel: Kernel, host: HostNetwork) -> tuple[HostPaths, list[Step]]:
        view = view_host(kernel)
        if self._host is None:
            with self._lock:
                self._inner_addresses |= view.inner_addresses()
            self._first_view = view
            for link in view.half_made():
                kernel.carry_out(Remove(Bridge(link.name, "", 0)))
        paths = _find_paths(kernel, view, host)
        wanted = host_things(host, paths)
        steps = plan(observe_host(kernel, view, wanted), wanted)
        for step in steps:
            kernel.carry_out(step)
        self._host = _Host(host, paths)
        return paths, steps

    # --- one VPC

    def apply(self, vpc: VpcNetwork) -> None:
        """Make the VPC exactly so; only what differs from the last time is asked of the kernel."""
        if self._host is None:
            raise NetworkError("apply_host must come first")
        with self._vpc(vpc.vpc_id):
            is_new = self.namespaces.create(vpc.vpc_id)
            before = None if is_new else self._applied.get(vpc.vpc_id)
            wanted = wanted_of(vpc, self._host.paths, self._inner_address(vpc.vpc_id))
            steps = steps_between(before.wanted, wanted) if before else None
            if steps != []:
                # Until it is done nobody knows what is there: after an error the next time reads it from the kernel.
                self._forget(vpc.vpc_id)
                self._with_kernel(vpc.vpc_id, lambda kernel: self._carry_out(kernel, vpc.vpc_id, steps, wanted))
            with self._lock:
                self._applied[vpc.vpc_id] = _Applied(vpc, wanted)

    def _carry_out(self, kernel: Kernel, vpc_id: str, steps: list[Step] | None, wanted: Wanted) -> None:
        """Do the steps; when it is not known what is there, look first, at the whole host only if need be."""
        with self._lock:
            view = None if vpc_id in self._touched else self._first_view
            self._touched.add(vpc_id)
        if steps is None:
            things = wanted.everything()
            steps = plan(observe_vpc(kernel, view or view_host(kernel), vpc_id, things), things)
        for step in steps:
            kernel.carry_out(step)

    def remove(self, vpc_id: str) -> None:
        """Remove the VPC's links, with which its addresses, routes and neighbours go, and its namespace's name."""
        with self._vpc(vpc_id):
            self._forget(vpc_id)
            with self._lock:
                self._touched.add(vpc_id)
            self._with_kernel(None, lambda kernel: _remove_remains(kernel, vpc_id))
            self.namespaces.delete(vpc_id)
        with self._lock:
            self._inner_addresses.pop(vpc_id, None)
            if self._first_view and vpc_id not in self._first_view.owners():
                self._touched.discard(vpc_id)  # as unknown as it was

    def present(self) -> frozenset[str]:
        """List the VPCs that have a namespace or a link."""
        return self.namespaces.names() | self._with_kernel(None, view_host).owners()

    def audit(self) -> tuple[str, ...]:
        """Read all again and repair; a lost neighbour entry comes back without a word, since DHCP replaces them."""
        if self._host is None:
            return ()
        _, drift = self._apply_host(self._host.picture)
        view = self._with_kernel(None, view_host)
        with self._lock:
            vpcs = list(self._applied)
        for vpc_id in vpcs:
            drift += self._audit_vpc(vpc_id, view)
        return tuple(str(step) for step in drift if not isinstance(getattr(step, "thing", None), Neighbour))

    def _audit_vpc(self, vpc_id: str, view: HostView) -> list[Step]:
        with self._vpc(vpc_id):
            applied = self._applied.get(vpc_id)
            if applied is None:
                return []
            self.namespaces.create(vpc_id)

            def compare(kernel: Kernel) -> list[Step]:
                things = applied.wanted.everything()
                if not plan(observe_vpc(kernel, view, vpc_id, things), things):
                    return []
                # Seen for all VPCs at once, some while ago: look again before touching anything.
                steps = plan(observe_vpc(kernel, view_host(kernel), vpc_id, things), things)
                for step in steps:
                    kernel.carry_out(step)
                return steps

            self._forget(vpc_id)
            steps = self._with_kernel(vpc_id, compare)
            with self._lock:
                self._applied[vpc_id] = applied
            return steps

    # --- what others need

    def capture(self, interface_id: str, seconds: float, packets: int, snap_length: int) -> bytes:
        """Give the packets of an interface of this host as a pcap file."""
        link = tap_name(interface_id)
        return self.namespaces.inside(None, lambda: capture(link, seconds, packets, snap_length))

    def namespace_path(self, vpc_id: str) -> Path:
        """Give the file by which a process enters the VPC's namespace."""
        return self.namespaces.path(vpc_id)

    def socket(
        self, vpc_id: str, family: socket.AddressFamily, kind: socket.SocketKind, protocol: int = 0
    ) -> socket.socket:
        """Make a socket inside the VPC's namespace."""
        return self.namespaces.inside(vpc_id, lambda: socket.socket(family, kind, protocol))

    # --- within

    @contextlib.contextmanager
    def _vpc(self, vpc_id: str) -> Iterator[None]:
        """Let one piece of work at a time at a VPC."""
        with self._lock:
            lock = self._vpc_locks.get(vpc_id) or threading.Lock()
            self._vpc_locks[vpc_id] = lock
        with lock:
            yield

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
        """Do work on the host's namespace, and the VPC's if one is given, on a thread made for it."""
        with contextlib.ExitStack() as stack:
            inner = None
            if vpc_id is not None:
                opened = stack.enter_context(open(self.namespaces.path(vpc_id), "rb", buffering=0))  # noqa: PTH123 - wants a descriptor only
                inner = opened.fileno()

            def body() -> T:
                with Kernel(self.namespaces.host, inner) as kernel:
                    return work(kernel)

            return on_a_thread(body)


def _remove_remains(kernel: Kernel, vpc_id: str) -> None:
    """Remove all that the host's namespace has of a VPC; the other ends of its pairs go along."""
    for step in plan(observe_remains(view_host(kernel), vpc_id), []):
        kernel.carry_out(step)


def _find_paths(kernel: Kernel, view: HostView, host: HostNetwork) -> HostPaths:
    """Find out how the host reaches the world, if it may."""
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
    """Find out how long a packet in the overlay may be; 0 while no link has the underlay's address."""
    owners = [index for index, address in view.addresses if address.partition("/")[0] == underlay_address]
    return min((view.links[index].mtu - OVERHEAD for index in owners if index in view.links), default=0)
