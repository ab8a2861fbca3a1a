"""How many requests of one account are under way: those to the server behind share few connections."""

from collections import Counter
from typing import Final

from stead_controller.errors import TooManyRequests

MOST_AT_ONCE: Final = 64  # half of the connections (`backend.py`): no account alone keeps all others waiting


class AtOnce:
    """The requests of each account that have begun and not ended."""

    def __init__(self, most: int = MOST_AT_ONCE) -> None:
        """Let an account have at most so many."""
        self._most = most
        self._begun: Counter[str] = Counter()

    def enter(self, account_id: str) -> None:
        """Begin one; raises TooManyRequests, and then has not begun it."""
        if self._begun[account_id] >= self._most:
            raise TooManyRequests
        self._begun[account_id] += 1

    def leave(self, account_id: str) -> None:
        """End one that has begun."""
        self._begun[account_id] -= 1
        if not self._begun[account_id]:
            del self._begun[account_id]
