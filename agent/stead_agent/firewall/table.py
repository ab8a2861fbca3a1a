"""An nft table as plain values: written in full as readable nft, or as the commands that turn one into another.

Each is one transaction: nft(8) sends the commands of a buffer as a single netlink batch, so a packet meets the
old rules or the new ones, never a mixture.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final

from stead_agent.roster import came_and_gone

_ELEMENTS_PER_LINE: Final = 8


@dataclass(frozen=True, slots=True)
class Statement:
    """A rule and the comment above it."""

    why: str
    text: str


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain; a base chain's hook says where the kernel calls it."""

    why: str
    rules: tuple[Statement, ...]
    hook: str = ""  # such as "type filter hook forward priority 0; policy drop;"


@dataclass(frozen=True, slots=True)
class NamedSet:
    """A named set or map with its elements as nft writes them; a dynamic one's elements are managed by the kernel."""

    why: str
    declaration: str  # such as "type ipv4_addr"
    elements: AbstractSet[str] = frozenset()
    is_map: bool = False

    @property
    def word(self) -> str:
        """Return the kind of object as used in commands."""
        return "map" if self.is_map else "set"


@dataclass(frozen=True, slots=True)
class CtTimeout:
    """The kernel's idle timeouts for flows of one protocol by state, in seconds; other states have the default."""

    why: str
    protocol: str  # "tcp" or "udp"
    seconds: tuple[tuple[str, int], ...]  # by nft's name of the state, such as ("established", 350)

    @property
    def properties(self) -> tuple[str, str]:
        """Return it as nft reads it: one property each, both on lines of their own."""
        policy = ", ".join(f"{state} : {seconds}" for state, seconds in self.seconds)
        return f"protocol {self.protocol}", f"policy = {{ {policy} }}"


@dataclass(frozen=True, slots=True)
class Table:
    """A table; the names of its sets and maps are unique."""

    family: str
    name: str
    why: str
    sets: Mapping[str, NamedSet] = field(default_factory=dict)
    chains: Mapping[str, Chain] = field(default_factory=dict)
    flags: str = ""
    timeouts: Mapping[str, CtTimeout] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Return the table's family and name as used in commands."""
        return f"{self.family} {self.name}"


def whole(table: Table) -> str:
    """Return the commands that replace any table of this name by this table."""
    flags = f" {{ flags {table.flags}; }}" if table.flags else ""
    return f"add table {table.address}{flags}\ndelete table {table.address}\n{written(table)}"


def written(table: Table) -> str:
    """Return the table in readable form."""
    lines = [f"# {table.why}", f"table {table.address} {{"]
    if table.flags:
        lines.append(f"  flags {table.flags}")
    for name, timeout in table.timeouts.items():
        lines += ["", f"  # {timeout.why}", f"  ct timeout {name} {{"]
        lines += [*(f"    {each}" for each in timeout.properties), "  }"]
    for name, named_set in table.sets.items():
        lines += ["", f"  # {named_set.why}", f"  {named_set.word} {name} {{", f"    {named_set.declaration}"]
        if named_set.elements:
            lines += ["    elements = {", *_element_lines(named_set.elements), "    }"]
        lines.append("  }")
    for name, chain in table.chains.items():
        lines += ["", f"  # {chain.why}", f"  chain {name} {{"]
        if chain.hook:
            lines.append(f"    {chain.hook}")
        for rule in chain.rules:
            lines += [f"    # {rule.why}", f"    {rule.text}"]
        lines.append("  }")
    return "\n".join((*lines, "}", ""))


def _element_lines(elements: Iterable[str]) -> Iterable[str]:
    ordered = sorted(elements)
    for start in range(0, len(ordered), _ELEMENTS_PER_LINE):
        yield "      " + ", ".join(ordered[start : start + _ELEMENTS_PER_LINE]) + ","


def changes(old: Table, new: Table) -> str:
    """Return the commands that turn `old` into `new`; "" when there is nothing to do.

    Order matters within the transaction: objects are created before those that refer to them and removed after them. A
    changed base chain, set declaration or timeout, or another table name, recreates the whole table.
    """
    if _needs_whole(old, new):
        return whole(new)
    at = new.address
    filled, emptied, removed = [], [], []
    made = [
        "\n".join((f"add ct timeout {at} {name} {{", *timeout.properties, "}"))
        for name, timeout in new.timeouts.items()
        if name not in old.timeouts
    ]
    for name, named_set in new.sets.items():
        before = old.sets.get(name)
        if before is None:
            made.append(f"add {named_set.word} {at} {name} {{ {named_set.declaration}; }}")
        known = before.elements if before else frozenset[str]()
        if named_set.elements is known:
            continue
        fresh, gone = came_and_gone(known, named_set.elements)
        if gone:
            emptied.append(f"delete element {at} {name} {{ {', '.join(sorted(gone))} }}")
        if fresh:
            filled.append(f"add element {at} {name} {{ {', '.join(sorted(fresh))} }}")
    rules = []
    for name, chain in new.chains.items():
        earlier = old.chains.get(name)
        if earlier is None:
            made.append(f"add chain {at} {name}")
        elif earlier.rules == chain.rules:
            continue
        else:
            rules.append(f"flush chain {at} {name}")
        rules += [f"add rule {at} {name} {rule.text}" for rule in chain.rules]
    gone_chains = [name for name in old.chains if name not in new.chains]
    removed += [f"flush chain {at} {name}" for name in gone_chains]
    removed += [f"delete chain {at} {name}" for name in gone_chains]
    removed += [f"delete {old.sets[name].word} {at} {name}" for name in old.sets if name not in new.sets]
    removed += [f"delete ct timeout {at} {name}" for name in old.timeouts if name not in new.timeouts]
    commands = [*made, *rules, *emptied, *filled, *removed]
    return "\n".join((*commands, ""))


def _needs_whole(old: Table, new: Table) -> bool:
    if (old.address, old.flags) != (new.address, new.flags):
        return True
    for name, chain in new.chains.items():
        before = old.chains.get(name)
        if (before.hook if before else "") != chain.hook:
            return True
    if any(chain.hook for name, chain in old.chains.items() if name not in new.chains):
        return True
    if any(old.timeouts.get(name, timeout) != timeout for name, timeout in new.timeouts.items()):
        return True
    return any(
        name in old.sets and (old.sets[name].declaration, old.sets[name].is_map) != (it.declaration, it.is_map)
        for name, it in new.sets.items()
    )
