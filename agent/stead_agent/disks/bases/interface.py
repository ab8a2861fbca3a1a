"""The promise: what the rest of the agent may ask of the bases of this host's volumes.

Every method blocks, is safe to call from several threads for different ids, and may be repeated. A base never changes:
what was once read of it is read again. Errors are `BaseError`s.
"""

from dataclasses import dataclass, field
from typing import Protocol

from stead_agent.disks.disk_sources import Layer


class BaseError(Exception):
    """A base could not be made as asked; the message is for the operator."""


class BaseFullError(BaseError):
    """There is no room for it on the host."""


class BaseAwayError(BaseError):
    """The block store, which has what is missing of it, cannot be reached now."""


@dataclass(frozen=True, slots=True)
class BaseSpec:
    """A snapshot that volumes are laid over."""

    id: str
    size: int  # bytes of the disk
    stored_size: int  # bytes of its blocks that are not all zero
    encrypted: bool = False
    encryption_key: bytes = field(default=b"", repr=False)  # of its blocks; empty while nobody may read it


class Bases(Protocol):
    """The bases of this host."""

    def ensure(self, base: BaseSpec) -> None:
        """Have the base ready to be read; of a large one not all must have come yet.

        An encrypted one can be read only while its key is given; without, who reads it is served no more.
        """

    def source(self, base_id: str) -> Layer | None:
        """Tell how to open the base as of now, or None when it is not here."""

    def remove(self, base_id: str) -> None:
        """Nothing is laid over the base any more. Its bytes may be kept for the next volume while there is room."""

    def purge(self) -> None:
        """Give up what is kept for the next volume when the disk is nearly full."""

    def present(self) -> frozenset[str]:
        """List the bases that are here and were not removed."""
