"""What a cloud must be like after a storm: its answers become facts, and an observation is compared with them.

A call that was answered is done. One whose answer was lost is done whole or not at all: nobody touches what it touches
until an observation of the cloud at rest says which.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

Facts = Mapping[str, str]  # of a resource, by their names; empty: it is not there
Observed = Mapping[str, Facts]  # all resources that are there, by their names

GONE: Final[Facts] = {}
NEWS_SHOWN: Final = 12


@dataclass(frozen=True)
class Call:
    """A request by its effect: the facts of each resource that it changes, and what must stay as it is meanwhile."""

    operation: str
    after: Mapping[str, Facts]
    reads: frozenset[str] = frozenset()

    @property
    def touches(self) -> frozenset[str]:
        """All resources that nobody else may change before its outcome is known."""
        return self.reads | self.after.keys()


@dataclass
class Model:
    """What is acknowledged, and what is in doubt."""

    resources: dict[str, Facts] = field(default_factory=dict)
    under_way: list[Call] = field(default_factory=list)
    in_doubt: list[Call] = field(default_factory=list)

    def free(self, name: str) -> bool:
        """Tell whether no call that may still have an effect touches a resource."""
        return not any(name in call.touches for call in (*self.under_way, *self.in_doubt))

    def begin(self, call: Call) -> None:
        """A call is sent; its resources are free."""
        assert all(self.free(name) for name in call.touches)
        self.under_way.append(call)

    def acknowledge(self, call: Call, learned: Mapping[str, Facts]) -> None:
        """It was answered, with further facts of the resources that it changed."""
        self.under_way.remove(call)
        self._apply(call, learned)

    def refuse(self, call: Call) -> None:
        """It was refused, or never sent."""
        self.under_way.remove(call)

    def doubt(self, call: Call) -> None:
        """Its answer was lost."""
        self.under_way.remove(call)
        self.in_doubt.append(call)

    def differences(self, observed: Observed) -> list[str]:
        """Name, each in a line, what is not as it was acknowledged; of calls in doubt, those that are done by halves."""
        assert not self.under_way
        doubtful = {name for call in self.in_doubt for name in call.after}
        certain = self.resources.keys() - doubtful
        found = [line for name in sorted(certain) for line in _difference(name, self.resources[name], observed)]
        found += [line for call in self.in_doubt for line in self._halves(call, observed)]
        strangers = observed.keys() - self.resources.keys() - doubtful
        return found + [f"{name} is there, and nobody made it: {dict(observed[name])}" for name in sorted(strangers)]

    def settle(self, observed: Observed) -> None:
        """Take what an observation without differences says of the calls in doubt."""
        for call in self.in_doubt:
            for name in call.after:
                self._put(name, observed.get(name, GONE))
        self.in_doubt.clear()

    def _apply(self, call: Call, learned: Mapping[str, Facts]) -> None:
        for name, facts in call.after.items():
            self._put(name, {**facts, **learned.get(name, {})})

    def _put(self, name: str, facts: Facts) -> None:
        if facts:
            self.resources[name] = facts
        else:
            self.resources.pop(name, None)

    def _halves(self, call: Call, observed: Observed) -> list[str]:
        undone = [line for name in call.after for line in _difference(name, self.resources.get(name, GONE), observed)]
        done = [line for name, facts in call.after.items() for line in _difference(name, facts, observed)]
        if not undone or not done:
            return []
        return [f"{call.operation}, whose answer was lost, is done by halves: {line}" for line in (*undone, *done)]


def _difference(name: str, expected: Facts, observed: Observed) -> Iterable[str]:
    """Say how a resource differs from what is expected; facts without an expectation do not count while it exists."""
    seen = observed.get(name, GONE)
    if not expected and seen:
        yield f"{name} should be gone, and is {dict(seen)}"
    elif expected and not seen:
        yield f"{name} is gone, and should be {dict(expected)}"
    else:
        for fact, value in expected.items():
            if seen.get(fact) not in value.split("|"):
                yield f"{name}: {fact} is {seen.get(fact)!r}, and should be {value!r}"
