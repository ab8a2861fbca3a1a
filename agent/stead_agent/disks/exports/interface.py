"""The interface that the rest of the agent uses for volumes that are on one host and used on another.

The home serves a volume to one other host, whose proxy offers it to its guest on a unix socket. The guest's QEMU may
bypass the proxy and connect to the home (`machines/direct_disks.py`), which admits both. The processes outlive the
agent. Every method blocks, is safe to call from several threads for different volumes, and may be repeated. Errors are
`ExportError`s.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from stead_agent.disks.disk_sources import Layer, NbdSource


class ExportError(Exception):
    """A volume could not be served or connected as requested; the message is for the operator."""


class HomeAwayError(ExportError):
    """The home of a volume does not serve it to us, or cannot be reached, now."""


@dataclass(frozen=True, slots=True)
class Export:
    """A volume of this host that exactly one other host may use."""

    volume_id: str
    generation: int  # of the attachment
    client_host_id: str
    port: int
    disk: Layer
    base: Layer | None = None  # below it, read-only
    encryption_key: bytes = field(default=b"", repr=False)  # empty: it is not encrypted
    client_enrolment: str = ""  # by which the other host has its certificate: one of before is not admitted
    client_former_enrolment: str | None = None  # but for this one, which its processes may still have
    confirmed_by: bytes = b""  # the authorities, a digest, of the controller that has named it
    """Where these are not the host's own, its process keeps the certificate that it has: its client may not trust the
    authorities of the host's new one."""
    by_former: bool = False
    """A new process is served by the certificate that the host had before it joined again, if that is kept."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A volume of another host that a guest of this one uses."""

    volume_id: str
    generation: int
    home_host_id: str
    address: str
    port: int
    size: int  # bytes that the guest must see; never shrinks


class Exports(Protocol):
    """The volumes that this host serves to others, and those that others serve to it; a volume is one or the other."""

    def serve(self, export: Export) -> None:
        """Serve the volume as described; exports for an earlier attachment have ended when this returns.

        From this call on the disk belongs to the serving process; no guest of this host may use it.
        """

    def grow(self, volume_id: str, size: int) -> None:
        """Grow a volume that is served to `size` bytes; the client's requests wait meanwhile.

        If this fails, the volume is no longer served, and is grown offline before it is served again.
        """

    def connect(self, remote: Remote) -> NbdSource:
        """Run a proxy for the volume with this size, and none for an earlier attachment; raises HomeAwayError.

        Once started, it stays while the home is unreachable: reads and writes wait for some minutes. It also stays, at
        its old size, while the home has not grown the volume, which is a HomeAwayError, too; and with an old
        certificate of this host while the home does not admit the new one, by which one is started then, too.
        """

    def refuse(self, volume_id: str) -> None:
        """Make all requests of a guest to a volume of another host fail at once, so that the volume can be detached.

        To be called for a forced detach: a guest whose requests wait for a home that serves another host cannot detach.
        """

    def generation(self, volume_id: str) -> int | None:
        """Return the attachment to which the volume is served, or None when it is not served.

        It counts as served even if its process has just ended: the next `serve` of that attachment starts another.
        """

    def source(self, volume_id: str) -> NbdSource | None:
        """Return where a guest finds a volume of another host, or None when no proxy runs for it."""

    def end(self, volume_id: str) -> None:
        """Stop serving the volume and end its proxy: when this returns, no process of ours uses it."""

    def is_outdated(self, volume_id: str) -> bool:
        """Tell whether a volume is among `outdated`."""

    def outdated(self) -> frozenset[str]:
        """List the volumes whose processes use an old certificate of this host: call `serve` or `connect` for them.

        That replaces the processes, while requests wait; otherwise no connection can be made once the old one expires.
        """

    def present(self) -> frozenset[str]:
        """List the volumes that are served, have a proxy, or have leftovers of either."""

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """Call `callback(volume_id)`, in a thread of ours, when a process ended by itself; it must not block."""

    def close(self) -> None:
        """End our threads; volumes are still served."""
