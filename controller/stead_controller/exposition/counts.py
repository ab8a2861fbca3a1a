"""How many hosts, instances and workflows there are: counted in the database by grouped queries over indices."""

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import func, select

from stead_controller.db.session import Transaction
from stead_controller.db.tables import Host, Instance, Workflow


@dataclass(frozen=True, slots=True)
class Workflows:
    """The workflows of one kind that go on: the age of the oldest in seconds, and how many failed at their last try."""

    number: int
    oldest: float
    failing: int


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of rows, by the words that users see; `hosts_behind` have not done all that they were sent."""

    hosts: dict[str, int] = field(default_factory=dict)
    hosts_cordoned: int = 0
    hosts_behind: int = 0
    instances: dict[str, int] = field(default_factory=dict)
    workflows: dict[str, Workflows] = field(default_factory=dict)


def count(tx: Transaction, now: datetime) -> Counts:
    """Count all of them now."""
    hosts: dict[str, int] = {}
    cordoned = behind = 0
    by_host = select(Host.state, Host.schedulable, Host.revision_reached < Host.revision, func.count()).group_by(
        Host.state, Host.schedulable, Host.revision_reached < Host.revision
    )
    for state, schedulable, is_behind, number in tx.connection.execute(by_host):
        hosts[state] = hosts.get(state, 0) + number
        cordoned += 0 if schedulable else number
        behind += number if is_behind else 0
    instances = select(Instance.state, func.count()).group_by(Instance.state)
    workflows: dict[str, Workflows] = {}
    for kind, started, tries in tx.connection.execute(select(Workflow.kind, Workflow.started, Workflow.tries)):
        before = workflows.get(kind, Workflows(0, 0.0, 0))
        age = max(0.0, (now - started).total_seconds())
        workflows[kind] = Workflows(before.number + 1, max(before.oldest, age), before.failing + (tries > 0))
    return Counts(
        hosts=hosts,
        hosts_cordoned=cordoned,
        hosts_behind=behind,
        instances=dict(iter(tx.connection.execute(instances))),
        workflows=workflows,
    )
