"""Limits how many requests of one account run at once: those to the server behind share few connections."""

from collections import Counter
from typing import Final

from stead_controller.errors import TooManyRequests

MOST_AT_ONCE: Final = 64  # half of the connections (`backend.py`): one account cannot block all others


class AtOnce:
    """Counts the running requests of each account."""

    def __init__(self, most: int = MOST_AT_ONCE) -> None:
        """Set how many requests an account may have running."""
        self._most = most
        self._begun: Counter[str] = Counter()

    def enter(self, account_id: str) -> None:
        """Count one more; raises TooManyRequests without counting it."""
        if self._begun[account_id] >= self._most:
            raise TooManyRequests
        self._begun[account_id] += 1

    def leave(self, account_id: str) -> None:
        """Count one less."""
        self._begun[account_id] -= 1
        if not self._begun[account_id]:
            del self._begun[account_id]
