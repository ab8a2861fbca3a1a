"""Count the credits of all running burstable machines in one thread, and limit those that have none left."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Protocol

from stead_agent.credits import accounts
from stead_agent.credits.accounts import Account, AccountFiles, Moment, Reading
from stead_agent.credits.interface import Balance, Terms
from stead_agent.credits.ledger import allowance, stopped, under
from stead_agent.logs import Log
from stead_agent.named_locks import NamedLocks

_log = Log(__name__)

COUNT_SECONDS: Final = 5.0
"""How often each is counted: far more often than `ledger.EASE_MINUTES`, so that no balance is overspent meanwhile."""
SAVE_SECONDS: Final = 60.0
"""How often a running machine's account is saved: a host that loses its power forgets no more than this."""
SHOW_SECONDS: Final = 300.0
"""How often a balance is reported, as by EC2's metrics of credits."""
_NOTABLE: Final = 50  # a limit that changes by less than one part in so many stays
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Processors(Protocol):
    """The vCPUs of this host's machines."""

    def processor_time(self, machine_id: str) -> tuple[str, int, int] | None:
        """Return a running machine's process, when it began and its vCPUs' time, as in `Reading`; None when off."""

    def limit_processors(self, machine_id: str, share: int | None) -> str:
        """Let each vCPU of a running machine use this many thousandths of a CPU, or all; return why not, or nothing."""


@dataclass(slots=True)
class _Watched:
    """A running machine in the thread's care; used with the machine's lock held."""

    account: Account
    terms: Terms
    shown: Balance = field(default_factory=Balance)
    shown_at: int | None = None  # milliseconds since the host's boot; None = never
    saved_at: int = 0
    share: int | None = None  # the limit in force
    is_limit_known: bool = False  # whether `share` is what this process has set
    refusal: str = ""  # why the limit could not be set


class Meter:
    """The `Credits` of real hosts; its thread begins with the first running machine."""

    def __init__(self, processors: Processors, folder: Path, *, now: Callable[[], Moment] | None = None) -> None:
        """Watch no machine yet; accounts are in `folder`."""
        self._processors = processors
        self._files = AccountFiles(folder)
        self._now = now or Clock()
        self._locks = NamedLocks()  # of machines: held while the host is asked about one
        self._lock = threading.Lock()  # guards what follows, never held while anything is asked
        self._watched: dict[str, _Watched] = {}
        self._callbacks: list[Callable[[str], None]] = []
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    # -- the interface

    def watch(self, machine_id: str, terms: Terms, start_count: int) -> Balance:
        """Count a running machine from now on."""
        with self._locks.at(machine_id):
            watched = self._watched.get(machine_id)
            if watched is not None and watched.terms == terms and watched.account.start_count == start_count:
                return watched.shown
            now, reading = self._now(), self._read(machine_id)
            if reading is None:  # it has just ended, and is found off when it is looked at next
                return watched.shown if watched is not None else Balance()
            if watched is None:
                account = self._files.load(machine_id) or accounts.opened(now, reading, terms.saved)
                watched = _Watched(account, terms)
            account = accounts.counted(watched.account, watched.terms, now, reading)
            if account.process != reading.process:
                watched.share, watched.is_limit_known = None, True  # no process is limited when it begins
            account = accounts.running(account, terms, start_count, now, reading)
            watched.account = replace(account, ledger=under(account.ledger, terms))
            watched.terms = terms
            self._count(machine_id, watched, now, reading)
            self._save(machine_id, watched, now)
            self._show(watched, now)
            self._add(machine_id, watched)
            return watched.shown

    def balance(self, machine_id: str) -> Balance | None:
        """Return what a running machine has, as last counted."""
        with self._lock:
            watched = self._watched.get(machine_id)
        return watched.account.shown if watched is not None else None

    def rest(self, machine_id: str, terms: Terms) -> Balance:
        """Stop counting a machine that is off."""
        with self._locks.at(machine_id):
            watched = self._drop(machine_id)
            account = watched.account if watched is not None else self._files.load(machine_id)
            if account is None:
                return Balance()
            rested = accounts.off(account, terms, self._now())
            rested = replace(rested, ledger=under(rested.ledger, terms))
            if rested != account or watched is not None:
                self._save(machine_id, _Watched(rested, terms), self._now())
            return rested.shown

    def forget(self, machine_id: str) -> Balance:
        """Remove a machine's account and its limit."""
        with self._locks.at(machine_id):
            watched = self._drop(machine_id)
            account = watched.account if watched is not None else self._files.load(machine_id)
            if watched is not None and watched.share is not None:
                self._processors.limit_processors(machine_id, None)
            self._files.remove(machine_id)
            return Balance() if account is None else replace(account, ledger=stopped(account.ledger)).shown

    def present(self) -> frozenset[str]:
        """List the machines that have an account."""
        return self._files.present()

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """Call back on renewed balances."""
        with self._lock:
            self._callbacks.append(callback)

    def close(self) -> None:
        """End the thread, and save all."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()
        for machine_id in list(self._watched):
            self.count(machine_id)
            with self._locks.at(machine_id):
                if (watched := self._drop(machine_id)) is not None:
                    self._save(machine_id, watched, self._now())

    def count(self, machine_id: str) -> bool:
        """Count one machine up to now, as the thread does; tell whether its balance was renewed."""
        with self._locks.at(machine_id):
            watched = self._watched.get(machine_id)
            now, reading = self._now(), self._read(machine_id)
            if watched is None or reading is None:
                return False
            self._count(machine_id, watched, now, reading)
            if now.since_boot - watched.saved_at >= 1000 * SAVE_SECONDS:
                self._save(machine_id, watched, now)
            if watched.shown_at is not None and now.since_boot - watched.shown_at < 1000 * SHOW_SECONDS:
                return False
            self._show(watched, now)
            return True

    # -- called with the machine's lock held

    def _count(self, machine_id: str, watched: _Watched, now: Moment, reading: Reading) -> None:
        watched.account = accounts.counted(watched.account, watched.terms, now, reading)
        share = allowance(watched.account.ledger, watched.terms)
        if watched.is_limit_known and _is_near(watched.share, share):
            return
        refusal = self._processors.limit_processors(machine_id, share)
        if refusal != watched.refusal and refusal:
            _log.warning("processors_not_limited", machine=machine_id, reason=refusal)
        watched.share, watched.is_limit_known, watched.refusal = share, not refusal, refusal

    def _read(self, machine_id: str) -> Reading | None:
        found = self._processors.processor_time(machine_id)
        return Reading(*found) if found is not None else None

    def _save(self, machine_id: str, watched: _Watched, now: Moment) -> None:
        """Save an account; on a full disk the next time, since the machine's work must go on."""
        try:
            self._files.save(machine_id, watched.account)
        except OSError as error:
            _log.warning("credits_not_saved", machine=machine_id, reason=str(error))
        watched.saved_at = now.since_boot

    @staticmethod
    def _show(watched: _Watched, now: Moment) -> None:
        watched.shown, watched.shown_at = watched.account.shown, now.since_boot

    def _add(self, machine_id: str, watched: _Watched) -> None:
        with self._lock:
            self._watched[machine_id] = watched
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._run, name="cpu-credits", daemon=True)
                self._thread.start()

    def _drop(self, machine_id: str) -> _Watched | None:
        with self._lock:
            return self._watched.pop(machine_id, None)

    # -- the thread

    def _run(self) -> None:
        while not self._closed.wait(COUNT_SECONDS):
            with self._lock:
                machine_ids, callbacks = list(self._watched), list(self._callbacks)
            for machine_id in machine_ids:
                if self._closed.is_set():
                    return
                try:
                    is_renewed = self.count(machine_id)
                except Exception as error:  # a fault with one machine must not end the counting of all
                    _log.error("credits_not_counted", error=error, machine=machine_id)
                    continue
                for callback in callbacks if is_renewed else ():
                    callback(machine_id)


class Clock:
    """The host's clocks."""

    def __init__(self) -> None:
        self._boot_id = _BOOT_ID.read_text(encoding="ascii").strip()

    def __call__(self) -> Moment:
        """Read both."""
        return Moment(self._boot_id, time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000, int(time.time()))


def _is_near(old: int | None, new: int | None) -> bool:
    """Tell whether a limit need not be changed."""
    if old is None or new is None:
        return old is new
    return _NOTABLE * abs(new - old) <= old
