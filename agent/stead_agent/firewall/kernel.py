"""The firewall on this machine's kernel: remembers what it applied, so that a small change is a small transaction."""

import contextlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final

from stead_agent.findings import Finding, Path
from stead_agent.firewall.cleaning import Clean, cleaned
from stead_agent.firewall.conntrack import end_flows
from stead_agent.firewall.flows import Judge, addresses_of, narrowed
from stead_agent.firewall.host_ruleset import Bindings, bindings_of, bridge_table, inet_table, owner_of
from stead_agent.firewall.interface import FirewallError, HostFirewall, LinkPrefixes, Namespaces, Refusal, VpcFirewall
from stead_agent.firewall.look import look_at_bindings, look_at_groups
from stead_agent.firewall.nftables import Nft
from stead_agent.firewall.table import Table, changes, whole, written
from stead_agent.firewall.vpc_ruleset import NAME, overlay_table, shut_table, table_of
from stead_agent.named_locks import NamedLocks
from stead_agent.nfnetlink import NetfilterSocket, attributes

_GET_GENERATION: Final = (10 << 8) | 16  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETGEN
_HOST: Final = ""  # the host, among the ids of VPCs whose rules may have been changed by others
_GENERATION_ID: Final = 1  # NFTA_GEN_ID
_CONTEXTS: Final = 12


class _Recent:
    """The contexts of the most recently used namespaces: each costs half a megabyte, closing one up to 20 ms.

    The kernel makes close(2) of a socket wait until what earlier transactions removed is freed (nft_rcv_nl_event).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: OrderedDict[_Rules, None] = OrderedDict()

    def used(self, rules: "_Rules") -> None:
        """Note a use, and close the least recently used context if there are too many."""
        with self._lock:
            self._rules[rules] = None
            self._rules.move_to_end(rules)
            oldest = next(iter(self._rules)) if len(self._rules) > _CONTEXTS else None
            if oldest:
                del self._rules[oldest]
        if oldest:
            oldest.drop_context()

    def forget(self, rules: "_Rules") -> None:
        """Forget a namespace that is closed."""
        with self._lock:
            self._rules.pop(rules, None)


class _Rules:
    """Our tables in one namespace, and whether another program changed its rules."""

    def __init__(self, namespaces: Namespaces, vpc_id: str | None, recent: _Recent | None = None) -> None:
        self.identity = None if vpc_id is None else namespaces.identity(vpc_id)
        self.netfilter = namespaces.inside(vpc_id, NetfilterSocket)
        self._namespaces, self._vpc_id = namespaces, vpc_id
        self._recent = recent  # without it the context stays open: the host's tables belong to its context
        self._nft: Nft | None = None
        self._nft_lock = threading.Lock()
        self._tables: dict[str, Table] = {}  # as they are in the kernel
        self._distrusted: dict[str, Table] = {}  # as they should be: the next transaction recreates them
        self._generation: int | None = None  # None = another program may have changed something

    def close(self) -> None:
        """Close the context and the netlink socket of the namespace."""
        if self._recent:
            self._recent.forget(self)
        self.drop_context()
        self.netfilter.close()

    def drop_context(self) -> None:
        """Close the context; the next use makes another."""
        with self._nft_lock:
            if self._nft:
                self._nft.close()
                self._nft = None

    def with_nft[T](self, work: Callable[[Nft], T]) -> T:
        """Do work with nftables in this namespace."""
        with self._nft_lock:
            if self._nft is None:
                self._nft = self._namespaces.inside(self._vpc_id, Nft)
            result = work(self._nft)
        if self._recent:
            self._recent.used(self)
        return result

    def link_index(self, name: str) -> int:
        """Return the index of a link of this namespace; 0 when there is none of this name."""
        return self.netfilter.link_index(name)

    def forget(self, address: str) -> None:
        """Forget a table's state: a chain of it was removed with its link."""
        self._tables.pop(address, None)
        self._distrusted.pop(address, None)

    def make(self, *tables: Table) -> None:
        """Apply these tables, and recreate those whose state is unknown, all in one transaction."""
        wanted = self._distrusted | {table.address: table for table in tables}
        commands = ""
        for address, table in wanted.items():
            before = self._tables.get(address)
            commands += changes(before, table) if before else whole(table)
        if commands:
            self._run(commands)
        self._tables |= wanted
        self._distrusted.clear()

    def _distrust(self) -> None:
        """Treat the state of all tables in the kernel as unknown."""
        self._distrusted |= self._tables
        self._tables.clear()
        self._generation = None

    def _run(self, commands: str) -> None:
        before = self._ask_generation()
        try:
            self.with_nft(lambda nft: nft.run(commands))
        except FirewallError:
            # Refused as a whole, so nothing has changed; but a wrong record may be the cause. Next time: recreate all.
            self._distrust()
            raise
        self._generation = before + 1 if self._generation in (None, before) else None

    def audit(self) -> list[str]:
        """Restore the tables if another program changed something in this namespace; return which were affected."""
        if self._ask_generation() == self._generation:
            return []
        self._distrust()
        tables = list(self._distrusted.values())
        before = self.with_nft(lambda nft: [_listed(nft, table) for table in tables])
        self.make()
        after = self.with_nft(lambda nft: [_listed(nft, table) for table in tables])
        return [f"table {table.address}" for table, was, now in zip(tables, before, after, strict=True) if was != now]

    def _ask_generation(self) -> int:
        buffer, span = self.netfilter.get(_GET_GENERATION)
        start, end = attributes(buffer, span)[_GENERATION_ID]
        return int.from_bytes(buffer[start:end])


def _listed(nft: Nft, table: Table) -> list[str]:
    """List a table from the kernel, in a form that can be compared."""
    if (table.family, table.name) not in nft.tables():
        return []
    return sorted(_comparable(item) for item in nft.list(f"list table {table.address}"))


def _comparable(item: Mapping[str, Any]) -> str:
    """Return an object as text without its handle and with its elements sorted; meters' elements come and go."""
    (kind, content) = next(iter(item.items()))
    plain = {key: value for key, value in content.items() if key != "handle"}
    if "elem" in plain:
        dynamic = "dynamic" in plain.get("flags", ())
        plain["elem"] = [] if dynamic else sorted(json.dumps(element, sort_keys=True) for element in plain["elem"])
    if plain.get("elem") == []:
        del plain["elem"]
    return json.dumps([kind, plain], sort_keys=True)


@dataclass(slots=True)
class _Vpc:
    """The rules in force in a VPC's namespace."""

    rules: _Rules
    desired: VpcFirewall | None = None  # None: unknown, since nothing was applied yet or the last apply failed
    clean: Clean | None = None  # the valid parts of the desired state
    addresses: frozenset[str] = frozenset()  # of all interfaces that may have tracked flows
    overlay_index: int = 0  # of the link to other hosts that has our chain


class KernelFirewall:
    """The `Firewall` of real hosts."""

    def __init__(self, namespaces: Namespaces, links: LinkPrefixes) -> None:
        self._namespaces = namespaces
        self._links = links
        self._lock = threading.Lock()  # guards the dictionaries below, never held during work
        self._vpc_locks = NamedLocks()
        self._vpcs: dict[str, _Vpc] = {}
        self._recent = _Recent()
        self._host_lock = threading.Lock()  # one transaction at a time in the host's namespace
        self._host_rules: _Rules | None = None
        self._bindings: dict[str, Bindings] = {}

    def close(self) -> None:
        """Close the sockets of all namespaces; the rules stay in force."""
        with self._host_lock, self._lock:
            for vpc in self._vpcs.values():
                vpc.rules.close()
            self._vpcs.clear()
            if self._host_rules:
                self._host_rules.close()
                self._host_rules = None

    # --- the host

    def apply_host(self, host: HostFirewall) -> None:
        """Apply the host's tables; the first time, bindings that an earlier agent made are read and preserved."""
        with self._host_lock:
            if self._host_rules is None:
                rules = _Rules(self._namespaces, None)
                self._bindings = rules.with_nft(_learn)
                self._host_rules = rules
            self._host_rules.make(inet_table(self._links, host), self._bridge_table())

    def remove_host(self) -> None:
        """Remove the host's own tables: for a host that is decommissioned, after its VPCs are removed."""
        with self._host_lock:
            rules = self._host_rules or _Rules(self._namespaces, None)
            ours = rules.with_nft(lambda nft: nft.tables()) & {("inet", NAME), ("bridge", NAME)}
            commands = "".join(f"delete table {family} {name}\n" for family, name in sorted(ours))
            rules.with_nft(lambda nft: nft.run(commands))
            rules.close()
            self._host_rules = None
            self._bindings.clear()

    def _bridge_table(self) -> Table:
        return bridge_table(self._links, self._bindings.values())

    def _bind(self, vpc_id: str, bindings: Bindings) -> None:
        """Allow exactly these guests of a VPC to send and receive frames."""
        with self._host_lock:
            if self._host_rules is None:
                raise FirewallError("apply_host must come first")
            before = self._bindings.get(vpc_id, Bindings())
            if before == bindings:
                return
            self._bindings[vpc_id] = bindings
            try:
                self._host_rules.make(self._bridge_table())
            except FirewallError:
                self._bindings[vpc_id] = before
                raise
            if bindings == Bindings():
                del self._bindings[vpc_id]

    # --- one VPC

    def apply(self, vpc: VpcFirewall) -> tuple[Refusal, ...]:
        """Apply the VPC's rules: guests that leave are cut off first, new guests are admitted last."""
        with self._vpc_locks.at(vpc.vpc_id):
            state = self._open(vpc.vpc_id)
            if state.desired == vpc and state.clean:
                return state.clean.refusals
            clean = cleaned(vpc, state.clean)
            before, state.clean = state.clean, None
            addresses = frozenset(address for it in clean.interfaces for address in addresses_of(it))
            gone = state.addresses - addresses
            state.addresses |= addresses
            wanted = bindings_of(vpc.vpc_id, clean.interfaces)
            self._bind(vpc.vpc_id, _common(self._bindings.get(vpc.vpc_id, Bindings()), wanted))
            self._make(state, clean)
            self._bind(vpc.vpc_id, wanted)
            end_flows(state.rules.netfilter, narrowed(before, clean) | gone, Judge(clean, gone).admits)
            state.desired, state.clean, state.addresses = vpc, clean, addresses
            return clean.refusals

    def remove(self, vpc_id: str) -> None:
        """Cut the VPC's guests off, then remove its table and close the sockets of its namespace."""
        with self._vpc_locks.at(vpc_id):
            if vpc_id in self._bindings:
                self._bind(vpc_id, Bindings())
            if self._namespaces.identity(vpc_id) is not None:
                commands = "".join(f"add table {it} {NAME}\ndelete table {it} {NAME}\n" for it in ("inet", "netdev"))
                self._open(vpc_id).rules.with_nft(lambda nft: nft.run(commands))
            self._close(vpc_id)

    def present(self) -> frozenset[str]:
        """List the VPCs that have bindings, or a table in their namespace."""
        with self._lock:
            known = frozenset(self._vpcs) | frozenset(self._bindings)
        unknown = self._namespaces.names() - known
        return known | frozenset(vpc_id for vpc_id in unknown if self._has_table(vpc_id))

    def _has_table(self, vpc_id: str) -> bool:
        if self._namespaces.identity(vpc_id) is None:
            return False
        with contextlib.closing(self._namespaces.inside(vpc_id, Nft)) as nft:
            return ("inet", NAME) in nft.tables()

    def look(self, path: Path) -> list[Finding]:
        """List the rules that the kernel applies to an interface of this host."""
        with contextlib.closing(self._namespaces.inside(None, Nft)) as nft:
            found = look_at_bindings(nft, path)
        if self._namespaces.identity(path.vpc_id) is None:
            return found
        with contextlib.closing(self._namespaces.inside(path.vpc_id, Nft)) as nft:
            return found + look_at_groups(nft, path)

    def audit(self, touched: AbstractSet[str] | None = None) -> tuple[str, ...]:
        """Check each namespace for changes by others; rules are compared only where there were any."""
        drift: list[str] = []
        if touched is None or _HOST in touched:
            with self._host_lock:
                if self._host_rules is not None:
                    drift += [f"host: {what}" for what in self._host_rules.audit()]
        with self._lock:
            vpcs = [vpc_id for vpc_id in self._vpcs if touched is None or vpc_id in touched]
        for vpc_id in vpcs:
            with self._vpc_locks.at(vpc_id):
                drift += [f"{vpc_id}: {what}" for what in self._audit_vpc(vpc_id)]
        return tuple(drift)

    def _audit_vpc(self, vpc_id: str) -> list[str]:
        state = self._vpcs.get(vpc_id)
        identity = self._namespaces.identity(vpc_id)
        if state is None or identity is None or state.clean is None:
            return []  # the next apply recreates everything
        if identity == state.rules.identity:
            if state.rules.link_index(self._links.overlay_link) != state.overlay_index:
                self._make(state, state.clean)
                return [f"a new {self._links.overlay_link} without rules", *state.rules.audit()]
            return state.rules.audit()
        fresh = self._open(vpc_id)
        self._make(fresh, state.clean)
        fresh.desired, fresh.clean, fresh.addresses = state.desired, state.clean, state.addresses
        return ["a new namespace without rules"]

    # --- internal

    def _make(self, state: _Vpc, clean: Clean) -> None:
        """Apply the tables of a VPC's namespace; the one on the link to other hosts is removed with that link."""
        index = state.rules.link_index(self._links.overlay_link)
        overlay = overlay_table(clean, self._links)
        if index != state.overlay_index:
            state.rules.forget(overlay.address)
        state.rules.make(table_of(clean, self._links), *([overlay] if index else []))
        state.overlay_index = index

    def _open(self, vpc_id: str) -> _Vpc:
        """Return the state of a VPC's namespace; a recreated namespace of the same name gets a new state."""
        identity = self._namespaces.identity(vpc_id)
        if identity is None:
            raise FirewallError(f"{vpc_id} has no namespace: the network comes first")
        state = self._vpcs.get(vpc_id)
        if state is not None and state.rules.identity != identity:
            self._close(vpc_id)
            state = None
        if state is None:
            state = _Vpc(_Rules(self._namespaces, vpc_id, self._recent))
            with self._lock:
                self._vpcs[vpc_id] = state
        return state

    def _close(self, vpc_id: str) -> None:
        with self._lock:
            state = self._vpcs.pop(vpc_id, None)
        if state is not None:
            state.rules.close()


def shut() -> None:
    """Drop all packets in the calling thread's namespace, a new one, until `KernelFirewall.apply` sets its rules.

    Raises FirewallError.
    """
    with contextlib.closing(Nft()) as nft:
        nft.run(written(shut_table()))


def _common(before: Bindings, after: Bindings) -> Bindings:
    return Bindings(
        before.ports & after.ports,
        before.sources & after.sources,
        before.routers & after.routers,
        before.sources6 & after.sources6,
    )


def _learn(nft: Nft) -> dict[str, Bindings]:
    """Read the bindings that are in force, by VPC."""
    if ("bridge", NAME) not in nft.tables():
        return {}
    found: dict[str, dict[str, set[str]]] = {}
    for item in nft.list(f"list table bridge {NAME}"):
        content = item.get("set")
        if content and content["name"] in Bindings.__dataclass_fields__:
            for element in content.get("elem", ()):
                text = _element_text(element)
                found.setdefault(owner_of(text), {}).setdefault(content["name"], set()).add(text)
    return {vpc_id: Bindings(**{k: frozenset(v) for k, v in sets.items()}) for vpc_id, sets in found.items()}


def _element_text(element: Any) -> str:
    """Return an element with its comment in the same form as `bindings_of`."""
    value, comment = element, ""
    if isinstance(element, dict) and "elem" in element:
        value, comment = element["elem"]["val"], f' comment "{element["elem"].get("comment", "")}"'
    tap, *rest = value["concat"] if isinstance(value, dict) else [value]
    return " . ".join([f'"{tap}"', *rest]) + comment
