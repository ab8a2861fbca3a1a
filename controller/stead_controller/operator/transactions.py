"""The interface of the database for the operators' services: it runs transactions."""

from collections.abc import Callable
from typing import Protocol

from stead_controller.request.transaction import Transaction


class Transactions(Protocol):
    """Runs functions in transactions; see `stead_controller.db.session.Database`."""

    async def run[T](self, function: Callable[[Transaction], T], *, writes: bool = True, dry_run: bool = False) -> T:
        """Run a function inside one transaction and return its result."""
        ...
