"""The agent of a host."""

from typing import Final

VERSION: Final = "0.1.0"
"""What a host says it runs; a constant, since to ask the installed package takes a library of 2 MiB."""
