"""The interface that the rest of the agent uses for the bases of this host's volumes.

Every method blocks, is safe to call from several threads for different ids, and may be repeated. A base never
changes: every read returns the same. Errors are `BaseError`s.
"""

from dataclasses import dataclass, field
from typing import Protocol

from stead_agent.disks.disk_sources import Layer


class BaseError(Exception):
    """A base could not be created as requested; the message is for the operator."""


class BaseFullError(BaseError):
    """There is no room for it on the host."""


class BaseAwayError(BaseError):
    """The block store, which has the missing blocks, cannot be reached now."""


@dataclass(frozen=True, slots=True)
class BaseSpec:
    """A snapshot that is the backing file of volumes."""

    id: str
    size: int  # bytes of the disk
    stored_size: int  # bytes of its blocks that are not all zero
    encrypted: bool = False
    encryption_key: bytes = field(default=b"", repr=False)  # of its blocks; empty while no guest may read it


class Bases(Protocol):
    """The bases of this host."""

    def ensure(self, base: BaseSpec) -> None:
        """Make the base ready to be read; a large one need not be complete yet.

        An encrypted one can be read only while its key is given; without a key, its readers are no longer served.
        """

    def source(self, base_id: str) -> Layer | None:
        """Return how to open the base as of now, or None when it is not on this host."""

    def remove(self, base_id: str) -> None:
        """Note that no volume uses the base any more. It may stay cached for the next volume while there is room."""

    def purge(self) -> None:
        """Delete cached bases when the disk is nearly full."""

    def present(self) -> frozenset[str]:
        """List the bases that are on this host and were not removed."""
