"""How many examples a property test tries: `./stead test --quick` is content with a quarter of what the whole run tries."""

import os
from typing import Final

_IS_QUICK: Final = bool(os.environ.get("STEAD_TEST_QUICK"))
_DEFAULT: Final = 100  # hypothesis's own


def examples(number: int = _DEFAULT) -> int:
    """Return how many of so many examples this run tries; for `max_examples` of a test that has a number of its own."""
    return -(-number // 4) if _IS_QUICK else number
