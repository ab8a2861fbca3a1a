"""The single transaction in which a request makes all its changes.

`aws` and `operator` receive it, pass it on and never look inside; `resources` runs its SQL through `tx.session`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from stead_controller.db.session import Transaction

__all__ = ["Transaction", "undone_on"]


@contextmanager
def undone_on(tx: Transaction, kind: type[Exception]) -> Iterator[None]:
    """Undo all changes of the block, and what it noted of them, when it raises this."""
    events, revision = set(tx.events), tx.revision
    try:
        with tx.savepoint():
            yield
    except kind:
        tx.events.clear()
        tx.events.update(events)
        tx.revision = revision
        raise
