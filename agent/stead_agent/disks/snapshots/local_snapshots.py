"""Implements `interface.py`: a guest's backup or an unused disk's file preserves the instant while a thread reads it.

    ensure -> an instant is begun, recorded, and read by a thread -> each snapshot is complete -> the instant is ended

A restarted agent continues with the guest's backup, if that is still active, or with the unused disk, if its file has
not changed. Else the instant is lost (the guest ended, or began to run): a new one is begun, and all is read again.
Blocks already in the store need not be sent again. Then the snapshot is of the later instant: `taken_at`. A set with
some complete snapshots gets no later instant: the others are lost.
"""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from stead_agent.disks.block_store import BlockStore, BlockStoreError
from stead_agent.disks.disk_backups import Backup, BackupError, DiskExport, DiskToFreeze, GuestBackups, NotPluggedError
from stead_agent.disks.snapshots.interface import SnapshotError, SnapshotGroup, SnapshotProgress, SnapshotSpec
from stead_agent.disks.snapshots.notes import GroupNote, Notes, SnapshotNote
from stead_agent.disks.snapshots.quiet_disk import QuietDisks, fingerprint
from stead_agent.disks.snapshots.reader import Cipher, Pass, Stopped
from stead_agent.named_locks import NamedLocks
from stead_proto.blocks import BadBlockError
from stead_proto.nbd import wire
from stead_proto.nbd.client import NbdClient
from stead_proto.nbd.wire import NbdError

_log = logging.getLogger(__name__)

_READ_AT_ONCE: Final = 2  # groups; others wait after their instant was taken
_READ_SECONDS: Final = 300.0
_TURN_SECONDS: Final = 0.2  # between looks whether who waits for its turn is stopped
_NEWS_SECONDS: Final = 0.5


@dataclass(slots=True)
class _Job:
    """A group that is being read."""

    group: SnapshotGroup
    note: GroupNote
    stop: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None
    error: Exception | None = None
    progress: dict[str, tuple[int, int]] = field(default_factory=dict)
    reported_at: float = 0.0

    @property
    def is_running(self) -> bool:
        """Tell whether its thread is running."""
        return self.thread is not None and self.thread.is_alive()


class LocalSnapshots:
    """The snapshots of one agent's volumes."""

    def __init__(self, state: Path, run: Path, store: BlockStore, guests: GuestBackups) -> None:
        """Store notes below `state`, and sockets below `run`."""
        self._notes = Notes(state / "snapshots")
        self._quiet = QuietDisks(run / "quiet")
        self._store = store
        self._guests = guests
        self._lock = threading.Lock()  # protects the two dictionaries
        self._groups = NamedLocks()  # held to begin, end or query a group; never by a job's thread
        self._jobs: dict[str, _Job] = {}
        self._readers = threading.Semaphore(_READ_AT_ONCE)
        self._hashing = ThreadPoolExecutor(min(4, len(os.sched_getaffinity(0))), "hash")
        self._callbacks: list[Callable[[str], None]] = []
        for volume_id in self._quiet.present():
            self._quiet.end(volume_id)  # left by a killed process: a new export is started when needed

    def ensure(self, group: SnapshotGroup) -> dict[str, SnapshotProgress]:
        """Take the group's instant, and read its disks."""
        with self._groups.at(group.name), _translated(group.name):
            job = self._jobs.get(group.name)
            if job is not None and job.is_running:
                return _progress(job.note, job)
            if job is not None and job.error is not None:
                error, job.error = job.error, None
                raise error
            note = self._notes.load(group.name)
            if note is not None and (note.lost or all(_is_over(each) for each in note.snapshots.values())):
                return _progress(note, None)
            job = self._begin(group, note)
            if job is None:
                return {each.id: SnapshotProgress() for each in group.snapshots}
            return _progress(job.note, job)

    def being_read(self, volume_ids: Iterable[str]) -> frozenset[str]:
        """List the disks that snapshots still need as they are; the notes tell, before a new process reads on."""
        wanted = frozenset(volume_ids)
        return frozenset(
            each.volume_id
            for note in self._notes.all()
            for each in note.snapshots.values()
            if each.volume_id in wanted and note.prints.get(each.volume_id) and not note.lost and not _is_over(each)
        )

    def release(self, volume_ids: Iterable[str]) -> None:
        """Stop reading disks that no guest has in use."""
        wanted = frozenset(volume_ids)
        for job in self._jobs_of(lambda job: not wanted.isdisjoint(job.note.prints)):
            self._stop(job)
        for volume_id in wanted:
            self._quiet.end(volume_id)
        for name in [note.name for note in self._notes.all() if not wanted.isdisjoint(note.prints)]:
            with self._groups.at(name):
                self._forget_prints(name, wanted)

    def remove(self, snapshot_id: str) -> None:
        """Stop taking a snapshot, and remove everything about it from the host."""
        with _translated(snapshot_id):
            for name in [note.name for note in self._notes.all() if snapshot_id in note.snapshots]:
                with self._groups.at(name):
                    self._remove(name, snapshot_id)

    def present(self) -> frozenset[str]:
        """List the snapshots that have something on the host."""
        return frozenset(
            name for note in self._notes.all() for name, each in note.snapshots.items() if not each.removed
        )

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """Call the callback when a snapshot has made progress."""
        self._callbacks.append(callback)

    def close(self) -> None:
        """Stop reading; a later process continues."""
        for job in self._jobs_of(lambda _job: True):
            self._stop(job)
        self._hashing.shutdown()

    def _forget_prints(self, name: str, volume_ids: frozenset[str]) -> None:
        """Record that disks have changed since a group's instant."""
        note = self._notes.load(name)
        if note is not None and not all(_is_over(each) for each in note.snapshots.values()):
            note.prints |= {volume_id: [] for volume_id in volume_ids & note.prints.keys()}
            self._notes.save(note)

    # -- instants

    def _begin(self, group: SnapshotGroup, note: GroupNote | None) -> _Job | None:
        """Begin or find the group's instant, and have it read; None while another backup of its machine is active."""
        if note is None:
            note = GroupNote(group.name, {each.id: SnapshotNote(each.volume_id) for each in group.snapshots})
        quiet = dict(group.quiet)
        prints = {volume_id: fingerprint(disk) for volume_id, disk in quiet.items()}
        backup = self._guests.current(group.machine_id) if group.machine_id else None
        if backup is not None and backup.name != group.name:
            if not backup.name or self._notes.load(backup.name) is None:  # without a name: its files are removed
                self._guests.end(group.machine_id, backup.name)  # no snapshot needs it any more
            return None
        if not _is_held(note, group.machine_id, prints) or (group.machine_id and backup is None):
            if _has_begun_to_end(note):
                return self._give_up_as_lost(group, note)
            self._note_instant(note, group.machine_id, prints)
            if group.machine_id:
                live = [each for each in group.snapshots if each.volume_id not in quiet]
                disks = {
                    each.volume_id: DiskToFreeze(each.id, each.parent_id, hidden=bool(each.encryption_key))
                    for each in live
                }
                backup = self._guests.begin(group.machine_id, group.name, disks)
                note.taken_at = _now()
                self._notes.save(note)
        job = _Job(group, note)
        with self._lock:
            self._jobs[group.name] = job
        job.thread = threading.Thread(target=self._work, args=(job, backup), name=f"snapshot {group.name}", daemon=True)
        job.thread.start()
        return job

    def _give_up_as_lost(self, group: SnapshotGroup, note: GroupNote) -> _Job:
        note.lost = True
        self._notes.save(note)
        names = ",".join(sorted(name for name, each in note.snapshots.items() if not _is_over(each)))
        _log.warning("snapshots_lost", extra={"group": note.name, "snapshots": names})
        return _Job(group, note)

    def _note_instant(self, note: GroupNote, machine_id: str, prints: dict[str, list[int]]) -> None:
        """Record a new instant before it is begun."""
        if note.machine_id and note.machine_id != machine_id:
            with contextlib.suppress(BackupError):  # it ended with its guest
                self._guests.end(note.machine_id, note.name)
        note.machine_id, note.prints = machine_id, prints
        note.instants += 1
        note.taken_at = _now()
        self._notes.save(note)

    # -- reading, in a thread of the job

    def _work(self, job: _Job, backup: Backup | None) -> None:
        try:
            with self._turn(job.stop), _translated(job.group.name):
                for spec in job.group.snapshots:
                    if not job.note.snapshots[spec.id].complete and not job.note.snapshots[spec.id].removed:
                        self._read(job, spec, backup)
                self._give_up(job.note)
        except Stopped:
            _log.info("snapshot_stopped", extra={"snapshot": job.group.name})
        except SnapshotError as error:
            if not job.stop.is_set():  # else the error comes from ending the export during the read
                job.error = error
        except Exception as error:  # our own bug must reach the next caller, and not vanish in a thread
            _log.exception("snapshot_broke", extra={"snapshot": job.group.name})
            job.error = error
        for spec in job.group.snapshots:
            self._notify(spec.id)

    @contextlib.contextmanager
    def _turn(self, stop: threading.Event) -> Iterator[None]:
        """Wait for a place among those who read; raises Stopped when stopped before."""
        while not self._readers.acquire(timeout=_TURN_SECONDS):
            if stop.is_set():
                raise Stopped
        try:
            yield
        finally:
            self._readers.release()

    def _read(self, job: _Job, spec: SnapshotSpec, backup: Backup | None) -> None:
        """Store one snapshot."""
        with contextlib.ExitStack() as held:
            quiet = dict(job.group.quiet).get(spec.volume_id)
            if quiet is not None:
                socket, export = (
                    held.enter_context(self._quiet.exported(spec.volume_id, quiet, job.stop)),
                    DiskExport(""),
                )
            else:
                assert backup is not None
                socket, export = backup.socket, backup.exports[spec.volume_id]
            note = job.note.snapshots[spec.id]
            bitmap = export.bitmap if spec.parent_id else ""
            contexts = (wire.ALLOCATION, bitmap) if bitmap else (wire.ALLOCATION,)
            client = held.enter_context(NbdClient(socket, export.name, contexts=contexts, timeout=_READ_SECONDS))
            began = time.monotonic()
            note.incremental = bool(bitmap)

            def report(total: int, done: int) -> None:
                job.progress[spec.id] = (total, done)
                if time.monotonic() - job.reported_at > _NEWS_SECONDS:
                    job.reported_at = time.monotonic()
                    self._notify(spec.id)

            is_fresh, cipher = job.note.instants > 1, _cipher(spec)
            one = Pass(spec, client, bitmap, is_fresh, self._hashing, job.stop, report, cipher)
            stored = one.run(self._store)
        note.complete, note.blocks = True, job.progress[spec.id][0]
        self._notes.save(job.note)
        _log.info(
            "snapshot_stored",
            extra={
                "snapshot": spec.id,
                "blocks": note.blocks,
                "incremental": note.incremental,
                "bytes": stored,
                "seconds": round(time.monotonic() - began, 2),
            },
        )

    def _give_up(self, note: GroupNote) -> None:
        """End an instant that is fully stored; changes since then are still tracked."""
        if note.machine_id:
            self._guests.end(note.machine_id, note.name)
            for snapshot_id, each in note.snapshots.items():
                self._guests.forget(note.machine_id, each.volume_id, keep=snapshot_id)

    # -- ending

    def _remove(self, name: str, snapshot_id: str) -> None:
        job = self._jobs.get(name)
        is_running = job is not None and job.is_running
        note = job.note if job is not None and is_running else self._notes.load(name)
        if note is None:
            return
        is_last = all(each.removed or other == snapshot_id for other, each in note.snapshots.items())
        # A complete snapshot is no longer desired of a host, while others of its instant may still be read.
        if job is not None and (is_last or not note.snapshots[snapshot_id].complete):
            self._stop(job)
        note.snapshots[snapshot_id].removed = True
        if not is_last:
            self._notes.save(note)
            return
        if note.machine_id:
            with contextlib.suppress(NotPluggedError):  # it ended with its guest
                self._guests.end(note.machine_id, note.name)
        with self._lock:
            self._jobs.pop(note.name, None)
        self._notes.remove(note.name)

    def _stop(self, job: _Job) -> None:
        """Stop a job's thread, and wait for it; what others read goes on."""
        job.stop.set()
        for volume_id in job.note.prints:
            self._quiet.end_of(volume_id, job.stop)
        if job.thread is not None and job.thread is not threading.current_thread():
            job.thread.join()

    def _jobs_of(self, which: Callable[[_Job], bool]) -> list[_Job]:
        with self._lock:
            return [job for job in self._jobs.values() if job.is_running and which(job)]

    def _notify(self, snapshot_id: str) -> None:
        for callback in self._callbacks:
            callback(snapshot_id)


def _progress(note: GroupNote, job: _Job | None) -> dict[str, SnapshotProgress]:
    found = {}
    for name, each in note.snapshots.items():
        total, done = job.progress.get(name, (0, 0)) if job is not None else (0, 0)
        if each.complete:
            total = done = each.blocks
        lost = note.lost and not each.complete
        found[name] = SnapshotProgress(total, done, note.taken_at, each.complete, each.incremental, lost)
    return found


def _is_over(note: SnapshotNote) -> bool:
    return note.complete or note.removed


def _is_held(note: GroupNote, machine_id: str, prints: dict[str, list[int]]) -> bool:
    """Tell whether the disks of a group that are still to be read are unchanged since its instant."""
    was = {volume_id: note.prints.get(volume_id) for volume_id in prints}
    return bool(note.taken_at) and note.machine_id == machine_id and was == prints


def _has_begun_to_end(note: GroupNote) -> bool:
    """Tell whether a snapshot of the same set already has this instant, so that a new one would differ.

    A removed snapshot may have been complete: the store knows that before we do.
    """
    return bool(note.taken_at) and any(_is_over(each) for each in note.snapshots.values())


def _cipher(spec: SnapshotSpec) -> Cipher | None:
    if not spec.encryption_key:
        return None
    from stead_proto.block_cipher import BlockCipher  # noqa: PLC0415 - 10 MiB, only for encryption

    return BlockCipher(spec.encryption_key)


def _now() -> int:
    return time.time_ns() // 1_000_000


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except (BackupError, BlockStoreError, NbdError, BadBlockError, OSError) as error:
        raise SnapshotError(f"{what}: {error}") from error
