"""Conditions on rows that are true when something is to be done."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import bindparam, event, exists

from stead_controller.db.due_rows import DueLook, DueRows
from stead_controller.db.tables import Workflow
from tests.support.world import database, run

__all__ = ["database", "run"]

NOW = datetime(2026, 3, 4, tzinfo=UTC)
SECOND = timedelta(seconds=1)
BEGUN = DueRows(exists().where(Workflow.due <= bindparam("now")))
LATE = DueRows(exists().where(Workflow.deadline <= bindparam("late")), {"late": -10 * SECOND})


@pytest.fixture
def workflow(run):
    """Begin a workflow that is due now, and late ten seconds from now."""
    facts = {"kind": "house", "step": "begin", "facts": "{}", "started": NOW}
    run(lambda tx: tx.session.add(Workflow(id="i-1", due=NOW, deadline=NOW, **facts)))


def test_nothing_is_due_without_rows(run):
    assert not run(BEGUN.is_met, NOW)
    assert not run(DueLook({"begun": BEGUN, "late": LATE}).met, NOW)


@pytest.mark.parametrize(("after", "begun", "late"), [(-1, False, False), (0, True, False), (10, True, True)])
def test_times_are_after_or_before_now(run, workflow, after, begun, late):
    now = NOW + after * SECOND
    assert (run(BEGUN.is_met, now), run(LATE.is_met, now)) == (begun, late)
    assert run((LATE | BEGUN).is_met, now) == (begun or late)
    names = [name for name, is_met in (("begun", begun), ("late", late)) if is_met]
    assert run(DueLook({"begun": BEGUN, "late": LATE}).met, now) == names


def test_one_statement_looks_at_all(database, run, workflow):
    statements = []
    event.listen(database.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    assert run(DueLook({"late": LATE, "begun": BEGUN, "either": LATE | BEGUN}).met, NOW) == ["begun", "either"]
    assert len([each for each in statements if each.startswith("SELECT")]) == 1


def test_a_parameter_has_one_meaning():
    other = DueRows(LATE.condition, {"late": SECOND})
    with pytest.raises(ValueError, match="late"):
        DueLook({"late": LATE, "other": other})
    with pytest.raises(ValueError, match="late"):
        _ = LATE | other
