"""Names of tests must be the same in each process: pytest-xdist refuses to run where two have collected different ones."""

from collections.abc import Mapping
from typing import Any


def unstable_part(name: str, parameters: Mapping[str, Any]) -> str:
    """Return what a test's name says of a set, whose order is another one in each process; "" if it says nothing."""
    for value in parameters.values():
        if isinstance(value, (set, frozenset)) and len(value) > 1 and str(value) in name:
            return str(value)
    return ""
