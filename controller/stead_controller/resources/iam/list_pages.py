"""A slice of a sorted list: exactly the rows that a page of IAM's lists needs."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select

_LAST = "\x7f"  # sorts after every character that a path may have


@dataclass(frozen=True, slots=True)
class Slice:
    """At most `fetch` rows that come after the row with the key `after`, None for the first; all for `fetch` None."""

    fetch: int | None = None
    after: tuple[str, ...] | None = None
    path_prefix: str = "/"

    def of[*Row](self, statement: Select[*Row], key: Any) -> Select[*Row]:
        """Sort a statement by a unique column and limit it to the slice."""
        if self.after is not None:
            statement = statement.where(key > self.after[-1])
        statement = statement.order_by(key)
        return statement if self.fetch is None else statement.limit(self.fetch)

    def paths(self, path: Any) -> list[ColumnElement[bool]]:
        """Return the conditions on the path's column."""
        if self.path_prefix == "/":
            return []
        return [path >= self.path_prefix, path < self.path_prefix + _LAST]


ALL = Slice()
"""A whole list, for lists that a quota keeps short."""
