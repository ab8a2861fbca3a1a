"""Which metric alarms are due, what they need to be evaluated, and what follows from it.

An alarm is due when data of its metrics came, each minute while there are some, and when it was changed. Without data
its state cannot change any more, so it is due again with the next datum only.
"""

from collections.abc import Container, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import bindparam, exists, select, update

from stead_controller.db.due_rows import DueRows
from stead_controller.db.tables import Alarm, AlarmMetric
from stead_controller.metrics.datum import Store
from stead_controller.request.transaction import Transaction
from stead_controller.resources.metrics import alarm_definition, alarm_evaluation, alarm_states, readings
from stead_controller.resources.metrics.alarm_definition import Definition
from stead_controller.resources.metrics.alarm_evaluation import STEP, Point, Window
from stead_controller.resources.metrics.alarm_math import plan_of
from stead_controller.resources.metrics.alarm_states import NewState
from stead_controller.resources.metrics.math.evaluate import evaluate
from stead_controller.resources.metrics.math.series import Series, Span
from stead_controller.resources.metrics.measures import Measure

AT_ONCE: Final = 200
"""Alarms that are evaluated together, whose metrics are read in one go."""

_DIGESTS: Final = 500
_EACH: Final = timedelta(seconds=60)
_COUNT: Final = "SampleCount"


@dataclass(frozen=True, slots=True)
class Due:
    """An alarm to evaluate: `text` is its definition as it is stored, by which it is known not to have changed."""

    account_id: str
    name: str
    state: str
    text: str
    definition: Definition


@dataclass(frozen=True, slots=True)
class Judged:
    """What an evaluation says: the new state, None if it stays, and whether there were data, also newer ones."""

    due: Due
    new: NewState | None
    has_data: bool
    has_newer: bool

    def next(self, now: datetime, *, awaits_data: bool) -> datetime | None:
        """Return when it is to be evaluated again; None if only new data can change anything."""
        if self.has_newer or (awaits_data and not self.has_data):
            return next_step(now)
        return now + _EACH if self.has_data else None


def next_step(now: datetime) -> datetime:
    """Return the next time at which evaluated times end, so that a datum of now is in them."""
    return datetime.fromtimestamp((int(now.timestamp()) // STEP + 1) * STEP, UTC)


def watchers(tx: Transaction) -> AbstractSet[str]:
    """Return the accounts that have alarms on metrics, which are their own."""
    return set(tx.session.scalars(select(AlarmMetric.account_id).distinct()))


def watching(tx: Transaction, digests: Sequence[str]) -> list[tuple[str, str]]:
    """Return the account and the name of each alarm that watches one of these metrics."""
    found: set[tuple[str, str]] = set()
    for first in range(0, len(digests), _DIGESTS):
        some = AlarmMetric.digest.in_(digests[first : first + _DIGESTS])
        rows = tx.session.execute(select(AlarmMetric.account_id, AlarmMetric.alarm).where(some))
        found |= {(account_id, name) for account_id, name in rows}
    return sorted(found)


def wake(tx: Transaction, names: Sequence[tuple[str, str]], at: datetime) -> None:
    """Make alarms due at a time, unless they are earlier."""
    for account_id, name in names:
        this = Alarm.account_id == account_id, Alarm.name == name
        later = Alarm.due.is_(None) | (Alarm.due > at)
        tx.session.execute(update(Alarm).where(*this, later).values(due=at))


def wake_all(tx: Transaction, at: datetime) -> None:
    """Make all metric alarms due: a controller begins, and data may have come of which it does not know."""
    tx.session.execute(update(Alarm).where(Alarm.rule.is_(None), Alarm.due.is_(None)).values(due=at))


DUE: Final = DueRows(exists().where(Alarm.due <= bindparam("now")))
"""Whether there is an alarm to evaluate."""


def next_due(tx: Transaction) -> datetime | None:
    """Return when the next alarm is due."""
    return tx.session.scalar(select(Alarm.due).where(Alarm.due.is_not(None)).order_by(Alarm.due).limit(1))


def due(tx: Transaction, now: datetime) -> list[Due]:
    """Return some of the alarms that are due, the longest waiting first."""
    rows = tx.session.scalars(select(Alarm).where(Alarm.due <= now).order_by(Alarm.due).limit(AT_ONCE))
    return [
        Due(row.account_id, row.name, row.state, row.definition, alarm_definition.read(row.definition)) for row in rows
    ]


async def judge(store: Store, alarms: Sequence[Due], now: datetime) -> list[Judged]:
    """Evaluate alarms on the data that there are; raises MetricsUnavailable."""
    judged = []
    by_account: dict[str, list[Due]] = {}
    for one in alarms:
        by_account.setdefault(one.account_id, []).append(one)
    for account_id, some in by_account.items():
        wanted: dict[tuple[int, int, int], list[Measure]] = {}
        for one in some:
            for measure, span in _needs(one.definition, now):
                wanted.setdefault((measure.period, span.start, span.end), []).append(measure)
        found: dict[tuple[Measure, int], Series] = {}
        for (period, start, end), measures in wanted.items():
            spans = {period: Span(start, end, end)}
            series = await readings.read_measures(store, account_id, dict.fromkeys(measures), spans)
            found |= {(measure, start): one for measure, one in series.items()}
        judged += [_judge(one, found, now) for one in some]
    return judged


def settle(tx: Transaction, judged: Sequence[Judged], now: datetime, awaiting: Container[tuple[str, str]] = ()) -> None:
    """Give alarms their states and when they are due next, unless they were changed since they were read.

    Those `awaiting` data, by account and name, do not rest yet: data were stored, which may not be seen at once.
    """
    for one in judged:
        row = tx.session.get(Alarm, (one.due.account_id, one.due.name))
        if row is None or row.rule is not None or row.definition != one.due.text or row.due is None:
            continue
        if row.due <= now:
            row.due = one.next(now, awaits_data=(row.account_id, row.name) in awaiting)
        if row.state != one.due.state:  # by hand, meanwhile
            row.due = next_step(now)
        elif one.new is not None and (one.new.state != row.state or row.reason != one.new.reason):
            alarm_states.change(tx, row, one.new, now)
        if alarm_states.ask_again(tx, row, now) and row.due is None:
            row.due = now + alarm_states.AGAIN
    tx.session.flush()


def _needs(definition: Definition, now: datetime) -> list[tuple[Measure, Window]]:
    """Return the measures to read, each with its times; percentiles of few samples need the samples too.

    One period more than is evaluated is read, for data that are there already, but count at a later step only.
    """
    span = alarm_evaluation.window(definition, now)
    needed = []
    for measure in definition.measures:
        step = measure.period * 1000
        needed.append((measure, Window(span.end - -(-(span.end - span.start) // step) * step, span.end + step)))
        if definition.low_samples == "ignore":
            needed.append((_samples(measure), needed[-1][1]))
    return needed


def _samples(measure: Measure) -> Measure:
    return Measure(measure.metric, _COUNT, measure.period, measure.unit)


def _judge(one: Due, found: Mapping[tuple[Measure, int], Series], now: datetime) -> Judged:
    definition = one.definition
    span = alarm_evaluation.window(definition, now)
    by_measure = {measure: found[measure, times.start] for measure, times in _needs(definition, now)}
    times = [at for series in by_measure.values() for at in series.points]
    if definition.measure is not None:
        series = by_measure[definition.measure]
        samples = by_measure.get(_samples(definition.measure))
    else:
        series, samples = _of_expression(definition, by_measure, span), None
    points = [
        Point(at, value, None if samples is None else samples.points.get(at, 0.0))
        for at, value in series.points.items()
        if span.start <= at < span.end
    ]
    new = alarm_evaluation.evaluate(definition, points, one.state, span)
    return Judged(one, new, bool(times), any(at >= span.end for at in times))


def _of_expression(definition: Definition, by_measure: Mapping[Measure, Series], span: Window) -> Series:
    """Return the one series that an alarm on expressions is on; a list of series is none, and has no data."""
    queries = definition.queries
    measured = {query.id: by_measure[query.measure] for query in queries if query.measure is not None}
    periods = {query.id: query.period for query in queries if query.period is not None}
    times = Span(span.start, span.end, span.end)
    shown = {**measured, **evaluate(plan_of(queries), measured, {}, times, periods)}
    [wanted] = [query.id for query in queries if query.returned]
    series = shown[wanted]
    return series if isinstance(series, Series) else Series({}, definition.period)
