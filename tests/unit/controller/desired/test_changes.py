"""Which hosts know more than the database."""

import pytest

from stead_controller.desired import revisions
from stead_controller.desired.changes import is_ahead
from tests.support.rows import NOW


@pytest.mark.parametrize(
    ("epoch", "beyond", "ahead"),
    [
        ("here", 0, False),
        ("here", 1, True),
        ("here", None, False),
        ("another", 0, True),
        ("another", None, False),
        ("", None, False),
    ],
)
def test_a_host_is_ahead_if_it_has_a_revision_that_is_not_of_this_database(run, epoch, beyond, *, ahead):
    """`beyond` is how far its revision is from the current one; None is a host that has none."""

    def ask(tx):
        revision = 0 if beyond is None else revisions.current(tx) + beyond
        return is_ahead(tx, revision, epoch, here="here")

    run(revisions.leap, NOW)
    assert run(ask) is ahead


def test_a_host_is_ahead_if_it_was_sent_a_revision_that_a_start_has_skipped(run):
    def ask(tx):
        now = revisions.current(tx)
        return [is_ahead(tx, revision, "here", here="here") for revision in (now - 1, now)]

    run(revisions.leap, NOW)
    assert run(ask) == [True, False]


def test_a_host_is_ahead_by_the_one_change_that_was_lost(run):
    """A copy of the database had the revision `known`; the host got just one change more, and the copy is put back."""
    known = run(revisions.current)
    run(revisions.leap, NOW)
    assert [run(is_ahead, known + more, "here", here="here") for more in (0, 1, 2)] == [False, True, True]
