"""Launch the instances of a fleet: pool after pool, in the order of its strategy, until its target is reached.

There are no prices here. What takes least of a host is the cheapest: a vCPU counts as much as 4 GiB of memory, as in
EC2's general purpose types. Since all pools are of the same hosts, it is also that of which there is most capacity.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from sqlalchemy import select

from stead_controller.catalog.instance_type import InstanceType
from stead_controller.db.tables import Instance
from stead_controller.errors import NoCapacity, SteadError
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction, undone_on
from stead_controller.resources.instances import launch_choices, spot_interruptions
from stead_controller.resources.instances.instance_reservations import RESERVATION_FULL
from stead_controller.resources.instances.launch_choices import Choices
from stead_controller.resources.instances.launch_request import LaunchRequest
from stead_controller.resources.instances.run_instances import run_instances

_GIB_OF_A_VCPU: Final = 4
_GIB: Final = 1 << 30
_MOST_AT_ONCE: Final = 1000


def price_of(kind: InstanceType) -> float:
    """Return what an instance takes of a host, in GiB of memory."""
    return kind.vcpus * _GIB_OF_A_VCPU + kind.memory / _GIB


@dataclass(frozen=True, slots=True)
class Pool:
    """One way to launch: a template with one of its overrides, by its number; `weight` is what an instance counts.

    `request` launches as many as the whole target needs. `choices` are those of this request, if they were made in this
    transaction already; `error` is why it cannot be launched at all.
    """

    number: int
    request: LaunchRequest | None
    weight: float = 1.0
    priority: float | None = None
    choices: Choices | None = None
    error: SteadError | None = None


@dataclass(frozen=True, slots=True)
class Goal:
    """What a fleet is to reach: `target` units, at least `minimum` of them or nothing, of one type or in one zone.

    It is of Spot Instances with `spot`. `by_priority` is whether priorities say which pool is first, or else what takes
    least of a host; with `reservations_first` they decide after what capacity reservations have unused. `coded` gives
    EC2's code and message of an error.
    """

    target: int
    coded: Callable[[SteadError], tuple[str, str]]
    spot: bool = False
    by_priority: bool = False
    minimum: int | None = None
    single_type: bool = False
    single_zone: bool = False
    reservations_first: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a pool gave nothing, or not all that was wanted: EC2's code and message.

    `ending` are the Spot Instances whose end would make room for one instance of it.
    """

    pool: int
    code: str
    message: str
    spot: bool = False
    ending: tuple[str, ...] = ()


@dataclass(slots=True)
class Outcome:
    """What was launched, by the numbers of the pools, and what could not be; `ending` are to end for what could not."""

    fulfilled: float = 0.0
    ending: tuple[str, ...] = ()
    launched: list[tuple[int, list[str]]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Ready:
    """A pool that can be launched, as far as can be known before."""

    pool: Pool
    request: LaunchRequest
    choices: Choices

    @property
    def price(self) -> float:
        """What a unit takes of a host."""
        return price_of(self.choices.type) / self.pool.weight


class _NotEnoughError(Exception):
    """Undoes what was launched of a group that does not reach the goal."""


@dataclass(frozen=True, slots=True)
class Launcher:
    """What all launches of a fleet have in common; `system_tags` are those of its instances."""

    tx: Transaction
    caller: Caller
    cloud: Cloud
    goal: Goal
    system_tags: Mapping[str, str]
    now: datetime

    def fill(self, pools: Sequence[Pool]) -> Outcome:
        """Launch instances until the target is reached or no pool has room."""
        unready: list[Failure] = []
        ready = list(self._ready(pools, unready))
        ready.sort(key=_by_priority if self.goal.by_priority else _by_price)
        if self.goal.single_type or self.goal.single_zone:
            outcome = self._launch_one_of(_groups(ready, self.goal))
        else:
            outcome = self._launch(ready)
        if outcome.fulfilled < self.goal.target:
            _interrupt(outcome)
        outcome.failures = sorted([*unready, *outcome.failures], key=lambda one: one.pool)
        return outcome

    def _ready(self, pools: Sequence[Pool], unready: list[Failure]) -> Iterator[_Ready]:
        """Yield the pools that can be launched, and add the others to `unready`."""
        for pool in pools:
            try:
                request, choices = self._choose(pool)
            except SteadError as error:
                unready.append(self._failure(pool, error))
            else:
                yield _Ready(pool, request, choices)

    def _choose(self, pool: Pool) -> tuple[LaunchRequest, Choices]:
        if pool.error is not None:
            raise pool.error
        if pool.request is None:
            raise AssertionError("a pool has a request or an error")
        choices = pool.choices or launch_choices.choose(self.tx, self.caller, self.cloud, pool.request)
        return pool.request, choices

    def _launch(self, ready: Sequence[_Ready]) -> Outcome:
        """Launch of each pool what is missing still."""
        outcome = self._launch_reserved(ready) if self.goal.reservations_first else Outcome()
        for one in ready:
            missing = self.goal.target - outcome.fulfilled
            if missing <= 0:
                break
            count = min(math.ceil(missing / one.pool.weight), _MOST_AT_ONCE)
            launched = self._launch_pool(one, count, outcome)
            if launched:
                outcome.launched.append((one.pool.number, launched))
                outcome.fulfilled += one.pool.weight * len(launched)
        return outcome

    def _launch_reserved(self, ready: Sequence[_Ready]) -> Outcome:
        """Launch what has unused slots in capacity reservations; what they do not give is no failure."""
        outcome = Outcome()
        for one in ready:
            missing = math.ceil((self.goal.target - outcome.fulfilled) / one.pool.weight)
            reserved = one.choices.reservations
            if missing <= 0 or not reserved.unused:
                continue
            only = replace(one, choices=replace(one.choices, reservations=replace(reserved, only=True)))
            launched = self._launch_pool(only, min(missing, reserved.unused, _MOST_AT_ONCE), Outcome())
            if launched:
                outcome.launched.append((one.pool.number, launched))
                outcome.fulfilled += one.pool.weight * len(launched)
        return outcome

    def _launch_one_of(self, groups: Sequence[Sequence[_Ready]]) -> Outcome:
        """Launch the first group that reaches the goal; if none does, the one that comes nearest, without a minimum."""
        needed = self.goal.target if self.goal.minimum is None else self.goal.minimum
        tried: list[Outcome] = []
        for group in groups:
            outcome = self._launch_all(group, needed)
            if outcome.fulfilled >= needed:
                outcome.failures += [failure for other in tried for failure in other.failures]
                return outcome
            tried.append(outcome)
        failures = [failure for outcome in tried for failure in outcome.failures]
        nearest = max(range(len(tried)), key=lambda number: tried[number].fulfilled, default=None)
        if self.goal.minimum is not None or nearest is None or not tried[nearest].fulfilled:
            return Outcome(failures=failures)
        outcome = self._launch(groups[nearest])
        outcome.failures = failures
        return outcome

    def _launch_all(self, group: Sequence[_Ready], needed: int) -> Outcome:
        """Launch a group, and undo it unless it gives what is needed; the outcome says what it would have given."""
        outcome = Outcome()
        try:
            with undone_on(self.tx, _NotEnoughError):
                outcome = self._launch(group)
                _check_enough(outcome, needed)
        except _NotEnoughError:
            return outcome
        return outcome

    def _launch_pool(self, one: _Ready, count: int, outcome: Outcome) -> list[str]:
        tags = {**one.request.system_tags, **self.system_tags}
        request = replace(one.request, max_count=count, system_tags=tags)
        try:
            with undone_on(self.tx, SteadError):
                made = run_instances(self.tx, self.caller, self.cloud, request, self.now, choices=one.choices)
        except SteadError as error:
            outcome.failures.append(self._failure(one.pool, error))
            return []
        mine = Instance.account_id == self.caller.account_id
        launched = sorted(self.tx.session.scalars(select(Instance.id).where(mine, Instance.reservation_id == made)))
        if len(launched) < count:
            few = NoCapacity(
                f"There is room for {len(launched)} of {count} instances of {request.instance_type}.",
                code=RESERVATION_FULL if one.choices.reservations.only else None,
            )
            outcome.failures.append(self._failure(one.pool, few))
        return launched

    def _failure(self, pool: Pool, error: SteadError) -> Failure:
        """Say why a pool failed; whether Spot Instances end for it is known only when all pools were tried."""
        code, message = self.goal.coded(error)
        ending = error.ending if isinstance(error, NoCapacity) else ()
        if ending:
            message = message.removesuffix(spot_interruptions.PROMISE)
        return Failure(pool.number, code, message, self.goal.spot, ending)


def _check_enough(outcome: Outcome, needed: int) -> None:
    if outcome.fulfilled < needed:
        raise _NotEnoughError


def _interrupt(outcome: Outcome) -> None:
    """Choose which Spot Instances end, those for the first pool for which any can, and have its failure say so."""
    for number, failure in enumerate(outcome.failures):
        if failure.ending:
            outcome.ending = failure.ending
            outcome.failures[number] = replace(failure, message=failure.message + spot_interruptions.PROMISE)
            return


def _by_priority(one: _Ready) -> tuple[float, int]:
    """The key of an order by priorities; among equals the request's order decides."""
    return math.inf if one.pool.priority is None else one.pool.priority, one.pool.number


def _by_price(one: _Ready) -> tuple[float, int]:
    """The key of an order by what a unit takes of a host; among equals the request's order decides."""
    return one.price, one.pool.number


def _groups(ready: Sequence[_Ready], goal: Goal) -> list[list[_Ready]]:
    """Group pools that may be used together, in the order of the first of each."""
    groups: dict[tuple[str, str], list[_Ready]] = {}
    for one in ready:
        kind = one.choices.type.name if goal.single_type else ""
        zone = one.choices.subnet.zone if goal.single_zone else ""
        groups.setdefault((kind, zone), []).append(one)
    return list(groups.values())
