"""The agent of a host."""

from typing import Final

VERSION: Final = "0.1.0"
"""The version that a host reports; a constant, since reading it from the installed package loads 2 MiB of library."""
