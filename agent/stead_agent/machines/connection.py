"""The one connection to libvirt: its events, and reconnecting after libvirt was away.

Libvirt's event loop runs in a thread of its own for the life of the process. Keepalive messages end the connection to a
hanging daemon, so no call waits for more than a few seconds; a thread then retries until a daemon answers again.

A call that begins in the moment in which keepalive messages end the connection misses that, and would wait for ever
(libvirt 11.3): later ones are refused, and do not wake it. So after each turn of the event loop one looks whether the
connection was ended; its socket is then hung up, which each call notices.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import libvirt

from stead_agent.machines import hanging_up
from stead_agent.machines.interface import MachineAbsentError, MachineError, MachinesUnavailableError

_log = logging.getLogger(__name__)

# A daemon that is silent for this long counts as dead: seconds between messages, and how many may stay unanswered.
_KEEPALIVE_SECONDS: Final = 1
_KEEPALIVE_COUNT: Final = 3
_RETRY_SECONDS: Final = 0.25
# `start` waits this long for its first try; with a hanging daemon it would wait for ever.
_FIRST_TRY_SECONDS: Final = 5

_loop_lock = threading.Lock()
_loop_running = False
_connections: "Final[set[Connection]]" = set()


def start_event_loop() -> None:
    """Start libvirt's event loop, once per process and before any connection is opened."""
    global _loop_running
    with _loop_lock:
        if _loop_running:
            return
        libvirt.virEventRegisterDefaultImpl()
        # Libvirt would print each error to stderr; here each is raised as an exception.
        libvirt.registerErrorHandler(lambda _context, _error: None, None)
        threading.Thread(target=_run_event_loop, name="libvirt-events", daemon=True).start()
        _loop_running = True


def _run_event_loop() -> None:
    """Dispatch libvirt's events for ever, and end what keepalive messages have ended."""
    while True:
        libvirt.virEventRunDefaultImpl()
        for connection in tuple(_connections):
            connection.hang_up_if_ended()


class Connection:
    """The connection to libvirt: up, or down and being retried.

    `on_event(machine_name, rebooted)` is called for each event of a domain and `on_link(up)` when the connection is
    opened or lost; both from threads that must not be blocked and may not call libvirt.
    """

    def __init__(
        self,
        uri: str,
        *,
        on_event: Callable[[str, bool], None],
        on_link: Callable[[bool], None],
        revive: Callable[[], object] | None = None,
    ) -> None:
        self._uri = uri
        self._on_event = on_event
        self._on_link = on_link
        self._revive = revive
        self._listeners: Mapping[int, Callable[..., None]] = {}
        self._lock = threading.Lock()
        self._live: Any = None
        self._opened: Any = None  # the same, already before it is listened to, until it is hung up
        self._why = "not connected yet"
        self._closing = threading.Event()
        self._lost = threading.Event()
        self._tried = threading.Event()

    def start(self, listeners: Mapping[int, Callable[..., None]]) -> None:
        """Begin, and wait for the first try; `listeners` are called at other events of domains, by libvirt's ids."""
        self._listeners = listeners
        _connections.add(self)
        start_event_loop()
        threading.Thread(target=self._keep, name="libvirt-connection", daemon=True).start()
        self._tried.wait(_FIRST_TRY_SECONDS)

    def get(self) -> Any:
        """Return the libvirt.virConnect, or raise MachinesUnavailableError while libvirt is away."""
        with self._lock:
            if self._live is None:
                raise MachinesUnavailableError(f"libvirt is away: {self._why}")
            return self._live

    def is_up(self) -> bool:
        """Tell whether libvirt is connected, as far as is known."""
        with self._lock:
            return self._live is not None and bool(self._live.isAlive())

    @contextlib.contextmanager
    def translated(self, subject: str) -> Iterator[None]:
        """Translate libvirt's errors: a refusal, a domain that is not there any longer, or an unreachable libvirt."""
        try:
            yield
        except libvirt.libvirtError as error:
            if not self.is_up():
                raise MachinesUnavailableError(f"libvirt went away: {error}") from error
            is_gone = error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN
            raise (MachineAbsentError if is_gone else MachineError)(f"{subject}: {error}") from error

    def revive(self) -> None:
        """Start libvirt's daemons, if there is a way to do so."""
        if self._revive:
            self._revive()

    def hang_up_if_ended(self) -> None:
        """End all calls on a connection that was ended, if `_closed` was not told of it yet."""
        live = self._opened
        if live is not None and not live.isAlive():
            self._opened = None
            hanging_up.hang_up(self._uri)

    def close(self) -> None:
        """Close the connection and stop reconnecting."""
        _connections.discard(self)
        self._closing.set()
        self._lost.set()
        with self._lock:
            live, self._live = self._live, None
        if live is not None:
            with contextlib.suppress(libvirt.libvirtError):  # it is being closed anyway
                live.unregisterCloseCallback()
                live.close()

    def _keep(self) -> None:
        """Reopen the connection whenever it is lost."""
        while not self._closing.is_set():
            if self._live is not None:
                self._lost.wait()
                continue
            is_open = self._try_open()
            if is_open:
                self._on_link(True)
            self._tried.set()
            if not is_open:
                self._closing.wait(_RETRY_SECONDS)

    def _try_open(self) -> bool:
        """Try to reach a daemon, after starting one if there is a way to do so."""
        try:
            self.revive()
            live = self._opened = libvirt.open(self._uri)
            live.setKeepAlive(_KEEPALIVE_SECONDS, _KEEPALIVE_COUNT)
            live.registerCloseCallback(self._closed, None)
            self._listen(live)
        except Exception as error:  # any error of libvirt or its start is logged, and tried again
            self._opened, self._why = None, str(error)
            _log.warning("libvirt_unreachable", extra={"uri": self._uri, "error": str(error)})
            return False
        self._lost.clear()
        with self._lock:
            self._live = live
        if not live.isAlive():  # it may have been lost before the close callback was registered
            self._closed(live, 0, None)
            return False
        return True

    def _listen(self, live: Any) -> None:
        """Subscribe to the events of all domains."""
        for kind, callback in (
            (libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._on_lifecycle),
            (libvirt.VIR_DOMAIN_EVENT_ID_REBOOT, self._on_reboot),
            (libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, self._on_device_removed),
            *self._listeners.items(),
        ):
            live.domainEventRegisterAny(None, kind, callback, None)

    def _on_lifecycle(self, _live: Any, domain: Any, _event: int, _detail: int, _opaque: Any) -> None:
        self._on_event(domain.name(), False)

    def _on_reboot(self, _live: Any, domain: Any, _opaque: Any) -> None:
        self._on_event(domain.name(), True)

    def _on_device_removed(self, _live: Any, domain: Any, _alias: str, _opaque: Any) -> None:
        self._on_event(domain.name(), False)

    def _closed(self, live: Any, reason: int, _opaque: Any) -> None:
        """Record that the connection was lost; called from the event loop."""
        with self._lock:
            if self._live is not live:
                return
            self._live = self._opened = None
            self._why = f"its connection ended (reason {reason})"
        _log.warning("libvirt_lost", extra={"uri": self._uri, "reason": reason})
        self._on_link(False)
        self._lost.set()
