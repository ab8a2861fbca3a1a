"""What the operators' services need of the database: somewhere to run a transaction."""

from collections.abc import Callable
from typing import Protocol

from stead_controller.request.transaction import Transaction


class Transactions(Protocol):
    """Runs functions in transactions; see `stead_controller.db.session.Database`."""

    async def run[T](self, function: Callable[[Transaction], T], *, writes: bool = True, dry_run: bool = False) -> T:
        """Run a function inside one transaction and give what it returns."""
        ...
