"""The promise: what the rest of the agent may ask of volumes that are on one host and used on another.

The home serves a volume to one other host; that host has a proxy, which gives its guest a unix socket. The guest's QEMU
may ask the home past it (`machines/direct_disks.py`), which lets in both. They outlive the agent. Every method blocks,
is safe to call from several threads for different volumes, and may be repeated. Errors are `ExportError`s.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from stead_agent.disks.disk_sources import Layer, NbdSource


class ExportError(Exception):
    """A volume could not be served or brought as asked; the message is for the operator."""


class HomeAwayError(ExportError):
    """The home of a volume does not serve it to us, or cannot be reached, now."""


@dataclass(frozen=True, slots=True)
class Export:
    """A volume of this host that one other host alone may use."""

    volume_id: str
    generation: int  # of the attachment
    client_host_id: str
    port: int
    disk: Layer
    base: Layer | None = None  # below it, read-only
    encryption_key: bytes = field(default=b"", repr=False)  # empty: it is not encrypted


@dataclass(frozen=True, slots=True)
class Remote:
    """A volume of another host that a guest of this one uses."""

    volume_id: str
    generation: int
    home_host_id: str
    address: str
    port: int
    size: int  # bytes that the guest must see; one that it has already never becomes smaller


class Exports(Protocol):
    """The volumes that this host serves to others, and those that others serve to it; a volume is one or the other."""

    def serve(self, export: Export) -> None:
        """Serve the volume so and not otherwise: what an earlier attachment was served has ended when this returns.

        From the call on the disk belongs to the serving process; no guest of this host may have it.
        """

    def grow(self, volume_id: str, size: int) -> None:
        """Let a volume that is served become `size` bytes large; the client's requests wait meanwhile.

        Should it fail, the volume is served to nobody, and grows on file before it is served again.
        """

    def connect(self, remote: Remote) -> NbdSource:
        """Have a proxy for the volume as large as said, and none for an earlier attachment; raises HomeAwayError.

        Once there, it stays while the home is away: reads and writes wait for some minutes. It also stays, as large as
        it was, while the home has not grown the volume, which is a HomeAwayError, too.
        """

    def refuse(self, volume_id: str) -> None:
        """Let all that a guest asks of a volume of another host fail at once, so that it can let go of it.

        To be called when it must: a guest whose requests wait for a home that serves somebody else cannot.
        """

    def generation(self, volume_id: str) -> int | None:
        """Tell to which attachment the volume is served, or None when it is served to nobody.

        It also is when its process has just ended: the next `serve` of that attachment starts another.
        """

    def source(self, volume_id: str) -> NbdSource | None:
        """Tell where a guest finds a volume of another host, or None when no proxy runs for it."""

    def end(self, volume_id: str) -> None:
        """Neither serve the volume nor have a proxy for it: when this returns, nothing of ours uses it."""

    def outdated(self) -> frozenset[str]:
        """List the volumes whose processes show another certificate than this host has now: `serve` or `connect` them.

        They are replaced then, while what uses them waits; without, no connection could be made once theirs has ended.
        """

    def present(self) -> frozenset[str]:
        """List the volumes that are served, have a proxy, or of which something of either is left."""

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """Have `callback(volume_id)` called, from a thread of ours, when a process ended by itself; must not block."""

    def close(self) -> None:
        """End our threads; what is served is served on."""
