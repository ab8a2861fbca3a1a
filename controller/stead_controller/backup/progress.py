"""How far a backup is: what its steps are shown by."""

from collections.abc import Callable

type Show = Callable[[str, int, int], None]
"""Is told what is being done, how much of it is done, and how much there is; both in the same unit."""
