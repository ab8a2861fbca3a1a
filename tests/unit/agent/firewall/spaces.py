"""Namespaces that note the transactions made in them, and know no more of nftables than which tables are there."""

import re
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from stead_agent.firewall import kernel
from stead_agent.firewall.interface import FirewallError
from stead_agent.nfnetlink import NetfilterSocket, Span, attribute


@dataclass
class Space:
    """A namespace: its tables, and the transactions that were made in it."""

    identity: int
    log: list[tuple[str, str]]
    name: str
    tables: set[tuple[str, str]] = field(default_factory=set)
    generation: int = 1
    links: dict[str, int] = field(default_factory=dict)
    open: int = 0
    made: int = 0  # how many contexts
    refusing: bool = False
    meddling: bool = False  # somebody else makes a transaction beside each of ours
    spoilt: set[tuple[str, str]] = field(default_factory=set)
    listed: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


class FakeNft:
    """A context of a namespace that notes what it is given."""

    def __init__(self, space: Space) -> None:
        self.space = space
        space.open += 1
        space.made += 1

    def close(self) -> None:
        self.space.open -= 1

    def run(self, commands: str) -> None:
        if self.space.refusing:
            raise FirewallError("no")
        self.space.log.append((self.space.name, commands))
        self.space.generation += 2 if self.space.meddling else 1
        for verb, family, name in re.findall(r"^(add |delete |)table (\w+) (\w+)", commands, re.MULTILINE):
            if verb == "delete ":
                self.space.tables.discard((family, name))
                self.space.spoilt.discard((family, name))
            else:
                self.space.tables.add((family, name))

    def tables(self) -> frozenset[tuple[str, str]]:
        return frozenset(self.space.tables)

    def list(self, command: str) -> list[dict[str, Any]]:
        _, _, family, name = command.split()
        if (family, name) in self.space.spoilt:
            return [{"chain": {"name": "odd", "handle": 7}}]
        return self.space.listed.get(command, [])


class FakeSocket:
    """A socket of a namespace that knows the number of its rules' generation."""

    def __init__(self, space: Space) -> None:
        self.space = space
        space.open += 1

    def close(self) -> None:
        self.space.open -= 1

    def get(self, _message: int) -> tuple[bytes, Span]:
        answer = attribute(7, b"x") + attribute(1, self.space.generation.to_bytes(4))
        return answer, (0, len(answer))

    def link_index(self, name: str) -> int:
        return self.space.links.get(name, 0)


class Spaces:
    """The host's namespace, and those of VPCs."""

    def __init__(self) -> None:
        self.log: list[tuple[str, str]] = []
        self.host = Space(0, self.log, "host")
        self.vpcs: dict[str, Space] = {}

    def add(self, vpc_id: str, identity: int = 1) -> Space:
        self.vpcs[vpc_id] = Space(identity, self.log, vpc_id)
        return self.vpcs[vpc_id]

    def inside[T](self, vpc_id: str | None, work: Callable[[], T]) -> T:
        space = self.host if vpc_id is None else self.vpcs[vpc_id]
        fake: dict[Any, Any] = {kernel.Nft: FakeNft, NetfilterSocket: FakeSocket}
        made: T = fake[work](space)
        return made

    def names(self) -> AbstractSet[str]:
        return self.vpcs.keys()

    def identity(self, vpc_id: str) -> int | None:
        assert vpc_id  # the host's namespace is no VPC's
        return self.vpcs[vpc_id].identity if vpc_id in self.vpcs else None
