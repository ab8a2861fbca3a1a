"""How many of many similar cases are tried: `./stead test --quick` is content with a third of what the whole run tries.

Build servers try the same examples each time, so that more would find nothing more the second time: half of what
people's runs try, which look for new ones.
"""

import os
import zlib
from typing import Final

_IS_QUICK: Final = bool(os.environ.get("STEAD_TEST_QUICK"))
_IS_BUILD_SERVER: Final = bool(os.environ.get("CI"))
_DEFAULT: Final = 30


def examples(number: int = _DEFAULT) -> int:
    """Return how many of so many examples this run tries; for `max_examples` of a test that has a number of its own."""
    if _IS_QUICK:
        return -(-number // 3)
    return -(-number // 2) if _IS_BUILD_SERVER else number


def tries(case: str) -> bool:
    """Tell whether this run tries a case, by its name, of very many: a quick run always the same quarter."""
    return not _IS_QUICK or zlib.crc32(case.encode()) % 4 == 0
