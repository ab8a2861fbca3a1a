"""Keeps all volumes of each guest together within its joint limit, by the limits of each of them.

A device is in one throttle group alone, so a second limit for all cannot be set: it is divided. Guests whose volumes'
own limits are together within it need nothing. Of all others libvirt is asked for the counters of the volumes, of all
guests that are due in one call: every second where the limit has to be divided, and else so often that a guest that
spends what it has saved is slowed down in time. Discards are not among what is counted, nor are they limited.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import libvirt

from stead_agent.logs import Log
from stead_agent.machines import attach, joint_credit, joint_limits
from stead_agent.machines.attach import Limit
from stead_agent.machines.domain_xml import serial_of, volume_of
from stead_agent.machines.interface import JointLimit, MachineError, MachineSpec, Saved
from stead_agent.machines.joint_accounts import Account, JointAccounts
from stead_agent.machines.joint_credit import Terms
from stead_agent.machines.joint_limits import Want

_log = Log(__name__)

LOOK_SECONDS: Final = 1.0
RARELY_SECONDS: Final = 30.0
_BUSY_SECONDS: Final = 0.2
SAVE_SECONDS: Final = 60.0
"""How often an account is saved: an agent that is killed counts the rest again from the counters."""
_NEVER: Final = float("inf")
_STATS_FLAGS: Final = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT


class Rate(NamedTuple):
    """Bytes and operations, both per second or both in sum."""

    bytes: int = 0
    operations: int = 0


class Arrangement(NamedTuple):
    """A spec whose volumes have their shares as limits, and the limits of volumes that the guest has beside these."""

    spec: MachineSpec
    limits: tuple[Limit, ...] = ()


@dataclass(slots=True)
class _Guest:
    """A guest with a joint limit; all is used with its lock held."""

    joint: JointLimit
    account: Account
    counted_at: float  # by `now`
    lock: threading.RLock = field(default_factory=threading.RLock)
    own: dict[str, Rate] = field(default_factory=dict)  # limits by volume, 0 = none
    shares: dict[str, Rate] = field(default_factory=dict)
    used: dict[str, tuple[float, float]] = field(default_factory=dict)  # bytes and operations per second, lately
    targets: dict[str, str] = field(default_factory=dict)  # volumes by their targets in libvirt; empty: to be read
    saved_at: float = 0.0
    due: float = _NEVER

    @property
    def terms(self) -> tuple[Terms, Terms]:
        """The terms of bytes and of operations."""
        joint = self.joint
        return Terms(joint.baseline_bytes, joint.most_bytes), Terms(joint.baseline_operations, joint.most_operations)

    @property
    def saved(self) -> tuple[float, float]:
        """What is saved of both."""
        return self.account.bytes, self.account.operations

    def wants(self, figure: int) -> list[Want]:
        """What each volume wants of bytes, 0, or of operations, 1."""
        nothing, idle = Rate(), (0.0, 0.0)
        return [
            Want(own[figure], self.shares.get(each, nothing)[figure], self.used.get(each, idle)[figure])
            for each, own in self.own.items()
        ]


class JointKeeper:
    """Divides the joint limits of one agent's guests; its thread begins with the first one that needs it."""

    def __init__(
        self, connection: Callable[[], Any], folder: Path, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        """Keep nothing yet; `connection` is the one to libvirt, what guests have saved is in `folder`."""
        self._connection = connection
        self._accounts = JointAccounts(folder)
        self._now = now
        self._changed = threading.Condition()  # guards what follows; never held while anything is asked
        self._guests: dict[str, _Guest] = {}
        self._thread: threading.Thread | None = None
        self._closed = False

    # -- called with the machine's lock held

    @contextmanager
    def arranged(self, spec: MachineSpec, live_xml: str = "") -> Iterator[Arrangement]:
        """Divide a guest's joint limit among the volumes of its spec and those that it has plugged in now.

        The caller makes it so within this `with`; nobody else does. `live_xml` is the running domain's.
        """
        if spec.joint is None:
            self.forget(spec.id)
            yield Arrangement(spec)
            return
        guest = self._guest(spec.id, spec.joint)
        live = attach.limits(live_xml) if live_xml else {}
        with guest.lock, self._care(spec.id, guest):
            own = {disk.id: Rate(disk.throughput, disk.iops) for disk in spec.disks if volume_of(serial_of(disk.id))}
            for volume_id in live.keys() - own.keys():  # it is being detached
                own[volume_id] = guest.own.get(volume_id, _rate(live[volume_id]))
            if own.keys() != guest.own.keys():
                guest.targets = {}
            guest.joint, guest.own = spec.joint, own
            guest.shares = {each: _rate(limit) for each, limit in live.items()}  # as an earlier agent has set them, too
            guest.shares = self._shares(guest) or guest.shares
            disks = tuple(
                replace(disk, throughput=guest.shares[disk.id].bytes, iops=guest.shares[disk.id].operations)
                if disk.id in own
                else disk
                for disk in spec.disks
            )
            wanted = {disk.id for disk in spec.disks}
            rest = [each for each in live if each not in wanted and _rate(live[each]) != guest.shares[each]]
            yield Arrangement(
                replace(spec, disks=disks), tuple(Limit(live[each].target, *guest.shares[each]) for each in rest)
            )

    @contextmanager
    def _care(self, machine_id: str, guest: _Guest) -> Iterator[None]:
        """Look at a guest soon after this `with`, if that is needed; if it fails, it is not known what is in force."""
        try:
            yield
        except BaseException:
            guest.shares = {}
            raise
        finally:
            soon = LOOK_SECONDS if guest.account.number != -1 else 0.0  # first its counters are only read
            guest.due = self._now() + soon if _seconds(guest) < _NEVER else _NEVER
            with self._changed:
                self._guests[machine_id] = guest
                if self._thread is None and guest.due < _NEVER and not self._closed:
                    self._thread = threading.Thread(target=self._run, name="joint-limits", daemon=True)
                    self._thread.start()
                self._changed.notify_all()

    def rest(self, machine_id: str) -> Saved | None:
        """Note that a machine is off, and return what it has saved; None when it has no joint limit.

        One that is just being started is not waited for: that is still what it had saved before.
        """
        with self._changed:
            guest = self._guests.get(machine_id)
        if guest is None:
            account = self._accounts.load(machine_id)
            return _shown(account) if account is not None else None
        if guest.lock.acquire(blocking=False):
            try:
                self._drop(machine_id, guest)
            finally:
                guest.lock.release()
        return _shown(guest.account)

    def forget(self, machine_id: str) -> None:
        """Remove all that is known of a machine that was removed, or has no joint limit any more."""
        with self._changed:
            self._guests.pop(machine_id, None)
        self._accounts.remove(machine_id)

    def close(self) -> None:
        """End the thread and save all; shares stay in force."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        for machine_id, guest in self._guests.items():
            with guest.lock:
                self._save(machine_id, guest)

    # -- called by anyone

    def saved(self, machine_id: str) -> Saved | None:
        """Return what a running guest has saved, as of its last look; None when it has nothing to save for."""
        with self._changed:
            guest = self._guests.get(machine_id)
        if guest is None or not any(terms.capacity for terms in guest.terms):
            return None
        return _shown(guest.account)

    def look(self) -> None:
        """Look at the guests that are due, and give their volumes other shares where that is worth it."""
        now, live = self._now(), self._connection()
        with self._changed:
            due = {machine_id: guest for machine_id, guest in self._guests.items() if guest.due <= now}
        for guest in due.values():
            guest.due = now + LOOK_SECONDS
        handles = [handle for machine_id in due if (handle := _handle(live, machine_id)) is not None]
        if not handles:
            return
        for handle, stats in live.domainListGetStats(handles, libvirt.VIR_DOMAIN_STATS_BLOCK, _STATS_FLAGS):
            guest = due[handle.name()]
            if not guest.lock.acquire(blocking=False):  # it is being changed
                continue
            try:
                self._look_at(guest, handle, _counters(stats))
            except libvirt.libvirtError as error:  # it has just ended, or released a volume
                guest.targets = {}
                _log.info("volumes_not_divided", machine=handle.name(), reason=str(error))
            finally:
                guest.lock.release()

    # -- called with the guest's lock held

    def _look_at(self, guest: _Guest, handle: Any, counters: Mapping[str, Rate]) -> None:
        now = self._now()
        if not counters:  # libvirt is busy with it, or it is off
            guest.due = now + _BUSY_SECONDS
            if not handle.isActive():
                self._drop(handle.name(), guest)
            return
        if guest.targets.keys() != counters.keys():
            found = attach.plugged(handle.XMLDesc(0)).targets
            guest.targets = dict.fromkeys(counters, "") | {target: volume_id for volume_id, target in found.items()}
        by_volume = {volume: counters[target] for target, volume in guest.targets.items() if volume in guest.own}
        self._count(guest, handle.ID(), by_volume, now)
        shares = self._shares(guest)
        if shares is not None:
            self._set(guest, handle, shares)
        guest.due = now + _seconds(guest)
        if now - guest.saved_at >= SAVE_SECONDS:
            self._save(handle.name(), guest)

    def _count(self, guest: _Guest, number: int, counters: Mapping[str, Rate], now: float) -> None:
        """Count what the volumes have done since they were last counted."""
        before = guest.account
        known = before.counters if before.number == number else {}
        first = before.number == -1  # what was done before is not known
        seconds = max(now - guest.counted_at, 1e-3)
        done = {each: _since(known.get(each), counters[each]) for each in counters}
        guest.used = {} if first else {each: (rate[0] / seconds, rate[1] / seconds) for each, rate in done.items()}
        saved = guest.saved
        if not first:
            used = [sum(rate[figure] for rate in done.values()) for figure in (0, 1)]
            saved = (
                joint_credit.after(saved[0], guest.terms[0], seconds, used[0]),
                joint_credit.after(saved[1], guest.terms[1], seconds, used[1]),
            )
        guest.account = Account(
            *saved, time.time(), number, {each: (rate.bytes, rate.operations) for each, rate in counters.items()}
        )
        guest.counted_at = now

    @staticmethod
    def _shares(guest: _Guest) -> dict[str, Rate] | None:
        """Return the shares that the volumes are to have; None when they are to stay as they are."""
        shares: list[Sequence[int]] = []
        is_worth_it = False
        for figure, limit in enumerate(_allowed(guest)):
            wants = guest.wants(figure)
            shares.append(joint_limits.divide(limit, wants))
            is_worth_it |= joint_limits.is_worth_it(limit, wants, shares[-1])
        return {each: Rate(*rate) for each, *rate in zip(guest.own, *shares, strict=True)} if is_worth_it else None

    @staticmethod
    def _set(guest: _Guest, handle: Any, shares: Mapping[str, Rate]) -> None:
        """Set the shares, those that become smaller first: together they are never more than the limit."""
        volumes = {volume_id: target for target, volume_id in guest.targets.items() if volume_id in shares}
        for sign in (-1, 1):
            for volume_id, target in volumes.items():
                before, new = guest.shares.get(volume_id, Rate()), shares[volume_id]
                step = Rate(*(sign * max(sign * was, sign * will) for was, will in zip(before, new, strict=True)))
                if step != before:
                    handle.setBlockIoTune(target, Limit(target, *step).parameters(), libvirt.VIR_DOMAIN_AFFECT_LIVE)
                    guest.shares[volume_id] = step

    def _drop(self, machine_id: str, guest: _Guest) -> None:
        """Save the account of a guest that is off, and look at it no more."""
        self._save(machine_id, guest)
        with self._changed:
            self._guests.pop(machine_id, None)

    def _save(self, machine_id: str, guest: _Guest) -> None:
        self._accounts.save(machine_id, guest.account)
        guest.saved_at = self._now()

    # -- the guests

    def _guest(self, machine_id: str, joint: JointLimit) -> _Guest:
        """Return a guest that may be new to this process, or to this host."""
        with self._changed:
            guest = self._guests.get(machine_id)
        if guest is not None:
            return guest
        account = self._accounts.load(machine_id)
        if account is None:
            account = Account(joint.saved.bytes / 1000, joint.saved.operations / 1000, time.time())
            self._accounts.save(machine_id, account)
        # So what it did not do while it was off, or while no agent ran, is counted too.
        guest = _Guest(joint, account, self._now() - max(0.0, time.time() - account.at))
        with self._changed:
            return self._guests.setdefault(machine_id, guest)

    def _run(self) -> None:
        while True:
            with self._changed:
                due = min((guest.due for guest in self._guests.values()), default=_NEVER)
                if self._closed:
                    return
                seconds = due - self._now()
                if seconds > 0:
                    self._changed.wait(min(seconds, RARELY_SECONDS))
                    continue
            try:
                self.look()
            except (MachineError, libvirt.libvirtError) as error:
                _log.warning("volumes_not_looked_at", reason=str(error))
                self._pause()
            except Exception as error:  # a fault with one guest must not end the thread of all others
                _log.error("volumes_look_failed", error=error)
                self._pause()

    def _pause(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed, LOOK_SECONDS)


def _allowed(guest: _Guest) -> tuple[int, int]:
    """Return the bytes and operations per second that all volumes together may do now."""
    (bytes_, operations), saved = guest.terms, guest.saved
    return joint_credit.allowed(saved[0], bytes_), joint_credit.allowed(saved[1], operations)


def _is_looked_at(guest: _Guest) -> bool:
    """Tell whether the volumes could do more than what is always allowed."""
    return any(
        joint_limits.total(terms.most, guest.wants(figure)) > terms.baseline and (terms.capacity or len(guest.own) > 1)
        for figure, terms in enumerate(guest.terms)
    )


def _seconds(guest: _Guest) -> float:
    """Return in how many seconds a guest is to be looked at again."""
    if not _is_looked_at(guest):
        return RARELY_SECONDS if min(guest.saved) < 1 else _NEVER
    seconds = RARELY_SECONDS
    for figure, (terms, saved, limit) in enumerate(zip(guest.terms, guest.saved, _allowed(guest), strict=True)):
        rate = joint_limits.total(terms.most, guest.wants(figure))
        if rate > limit and len(guest.own) > 1:
            return LOOK_SECONDS
        seconds = min(seconds, joint_credit.lasts(saved, terms, rate))
    return max(seconds, LOOK_SECONDS)


def _handle(live: Any, machine_id: str) -> Any | None:
    try:
        return live.lookupByName(machine_id)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


def _counters(stats: Mapping[str, Any]) -> dict[str, Rate]:
    """Return what has been read and written, by the targets of the disks; nothing when libvirt was busy."""
    found = {}
    for number in range(stats.get("block.count", 0)):
        names = [f"block.{number}.{kind}" for kind in ("rd.bytes", "wr.bytes", "rd.reqs", "wr.reqs")]
        if stats.keys() >= set(names):
            read, written, reads, writes = (int(stats[name]) for name in names)
            found[stats[f"block.{number}.name"]] = Rate(read + written, reads + writes)
    return found


def _since(before: Sequence[int] | None, now: Rate) -> Rate:
    """Return what was done since counters were read; they begin anew when a volume is plugged in anew."""
    if before is None or before[0] > now.bytes or before[1] > now.operations:
        return now
    return Rate(now.bytes - before[0], now.operations - before[1])


def _rate(limit: Limit) -> Rate:
    return Rate(limit.total_bytes_sec, limit.total_iops_sec)


def _shown(account: Account) -> Saved:
    return Saved(*(round(1000 * max(0.0, each)) for each in (account.bytes, account.operations)))
