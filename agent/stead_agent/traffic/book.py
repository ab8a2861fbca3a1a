"""Readings of counters become sums by who sent: pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from stead_agent.traffic.interface import Counter, Sum, Sums, Way

type Readings = Mapping[str, Mapping[Counter, int]]
_GATEWAY = "nat-"


@dataclass(slots=True)
class Book:
    """Sums, and what was read when they were made; `boot_id` is of the host's boot that this is of.

    `owners` have the addresses of each VPC, or had them last.
    """

    epoch: str
    boot_id: str = ""
    seen: dict[str, dict[Counter, int]] = field(default_factory=dict)
    owners: dict[str, dict[str, str]] = field(default_factory=dict)
    sums: dict[tuple[str, Way, str], int] = field(default_factory=dict)

    def note(self, boot_id: str, readings: Readings, peers: Mapping[str, frozenset[str]]) -> bool:
        """Add what has passed since the reading before; tell whether anything has.

        What was seen in another boot, or of a VPC that is not there now, has begun at zero again.
        """
        changed = False
        if boot_id != self.boot_id:
            self.boot_id, self.seen, changed = boot_id, {}, True
        for vpc_id, counters in readings.items():
            seen = self.seen.setdefault(vpc_id, {})
            for counter, count in counters.items():
                before = seen.get(counter, 0)
                more = count - before if count >= before else count
                if more and self._add(vpc_id, counter, more, peers.get(vpc_id, frozenset())):
                    seen[counter] = count
                    changed = True
        return changed

    def end(self, vpc_id: str) -> None:
        """Forget what was seen of a VPC that has left: its counters are gone."""
        self.seen.pop(vpc_id, None)

    def shown(self) -> Sums:
        """Return all sums."""
        return Sums(self.epoch, tuple(Sum(*key, total) for key, total in sorted(self.sums.items(), key=_order)))

    def forget(self, known: Sums) -> bool:
        """Drop sums that are known elsewhere and whose owner has no address here now; tell whether there were any."""
        here = {owner for owners in self.owners.values() for owner in owners.values()}
        old = [one[:3] for one in known.sums if one.id not in here and self.sums.get(one[:3]) == one.total]
        for key in old:
            del self.sums[key]
        return bool(old)

    def _add(self, vpc_id: str, counter: Counter, more: int, peers: frozenset[str]) -> bool:
        """Add bytes to who has the address; False for one that nobody has, or had."""
        way, owner = counter.way, self.owners.get(vpc_id, {}).get(counter.address)
        if owner is None and way is Way.TO_HOST:
            found = (self.owners.get(peer, {}).get(counter.address) for peer in sorted(peers))
            owner, way = next((one for one in found if one is not None), None), Way.TO_PEER_HOST
        if owner is None:
            return False
        if way is Way.FROM_INTERNET and not owner.startswith(_GATEWAY):
            return True  # is not billed
        key = (owner, way, counter.host)
        self.sums[key] = self.sums.get(key, 0) + more
        return True


def _order(item: tuple[tuple[str, Way, str], int]) -> tuple[str, str, str]:
    (owner, way, host), _ = item
    return owner, way.value, host
