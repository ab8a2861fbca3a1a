"""The desired state of this host on disk: an SQLite file that makes the agent independent of the controller.

Everything that the controller sends is stored before it is acted upon and before it counts as known, so that a host
that reboots without a controller knows what to start. Blocking; any thread may call. In memory it is in `wanted.py`.
"""

import json
import sqlite3
import threading
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Final, Protocol

from stead_agent.reserve import Reserve
from stead_agent.wanted import HOST_NETWORK, Change, Held, Key, Tombstone, Wanted, key_of
from stead_proto.v1.desired_pb2 import Kind, Resource

FILE_NAME: Final = "desired.sqlite"

_FULL: Final = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE}
_SCHEMA_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE resource (
    kind INTEGER NOT NULL, id TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID;
CREATE TABLE tombstone (
    kind INTEGER NOT NULL, id TEXT NOT NULL, revision INTEGER NOT NULL, force INTEGER NOT NULL, body BLOB,
    done INTEGER NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID;
CREATE TABLE held (machine_id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


class StoreError(Exception):
    """The file cannot be read or written, such as on a full disk.

    Nothing of the change was stored; or a key that the change removes could not be wiped, and it must be stored again.
    """


class Store(Protocol):
    """Where the desired state is stored across restarts."""

    @property
    def on_disk(self) -> bool:
        """Tell whether callers on an event loop must store in another thread."""

    def load(self) -> Wanted:
        """Read everything."""

    def save(self, change: Change) -> None:
        """Store a change, all of it or nothing, so that a power cut cannot take it away."""

    def done(self, key: Key, revision: int) -> None:
        """Record that nothing is left of a resource with a tombstone, unless that has another revision by now."""

    def forget(self, revisions: Iterable[tuple[Key, int]]) -> None:
        """Delete tombstones, done or not, except those with other revisions: they are newer tombstones."""

    def hold(self, machine_id: str, held: Held) -> None:
        """Record what a guest may have in use."""

    def close(self) -> None:
        """Close the file."""


class ForgetfulStore:
    """A store of simulated hosts that do not outlive their process: it stores nothing."""

    on_disk = False

    def load(self) -> Wanted:
        """Return an empty state."""
        return Wanted()

    def save(self, change: Change) -> None:
        """Do nothing."""

    def done(self, key: Key, revision: int) -> None:
        """Do nothing."""

    def forget(self, revisions: Iterable[tuple[Key, int]]) -> None:
        """Do nothing."""

    def hold(self, machine_id: str, held: Held) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class SqliteStore:
    """The desired state in one SQLite file in the state directory.

    What the controller sent is written with synchronous=FULL. Records of our own work (`done`, `hold`) only have to
    survive a killed agent: after a power cut no guest holds anything and removing again is harmless, so a second
    connection writes them without waiting for the disk. On a full disk a reserve is used: removals free room.
    """

    on_disk = True

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)  # SQLite creates its other files with the mode of this one
        try:
            self._durable = _connect(path, "FULL")
            _create_tables(self._durable)
            self._quick = _connect(path, "NORMAL")
        except sqlite3.Error as error:
            raise StoreError(f"{path}: {error}") from error
        self._reserve = Reserve(path.with_name(f"{path.stem}.reserve"))
        self._reserve_lock = threading.Lock()
        with self._reserve_lock:
            self._reserve.take()
        path.chmod(0o600)
        # A connection has one transaction at a time, whichever thread began it.
        self._durable_lock = threading.Lock()
        self._quick_lock = threading.Lock()
        self._with_role: set[str] = set()  # machines in the file whose guests have credentials
        self._must_wipe = True  # keys may be left in the write-ahead log: an earlier process may have ended too early

    def load(self) -> Wanted:
        """Read everything."""
        wanted = Wanted()
        try:
            meta = dict(self._durable.execute("SELECT name, value FROM meta"))
            bodies = self._durable.execute("SELECT body FROM resource").fetchall()
            stones = self._durable.execute("SELECT kind, id, revision, force, body, done FROM tombstone").fetchall()
            holdings = self._durable.execute("SELECT machine_id, body FROM held").fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"cannot read the desired state: {error}") from error
        resources = tuple(Resource.FromString(body) for (body,) in bodies)
        self._with_role = {each.id for each in resources if _has_role(each)}
        wanted.install(
            Change(
                revision=int(meta.get("revision", 0)),
                epoch=meta.get("epoch", ""),
                full=True,
                unknown=tuple(filter(None, [meta.get("unknown", "")])),
                put=resources,
                buried=tuple(_tombstone(row) for row in stones),
                unclaimed=frozenset(Key(kind, name) for kind, name in json.loads(meta.get("unclaimed", "[]"))),
            )
        )
        for machine_id, body in holdings:
            parts = json.loads(body)
            wanted.hold(machine_id, Held(frozenset(parts["volumes"]), frozenset(parts["interfaces"])))
        return wanted

    def save(self, change: Change) -> None:
        """Store a change, all of it or nothing, so that a power cut cannot take it away."""
        try:
            self._with_room(lambda: self._save(change))
            self._wipe_keys(change)
        except sqlite3.Error as error:
            raise StoreError(f"cannot store the desired state: {error}") from error

    def _save(self, change: Change) -> None:
        with self._durable_lock, self._durable as transaction:
            transaction.executemany("DELETE FROM tombstone WHERE kind = ? AND id = ?", change.forgotten)
            transaction.executemany(
                "DELETE FROM resource WHERE kind = ? AND id = ?", [each.key for each in change.buried]
            )
            transaction.executemany(
                "INSERT OR REPLACE INTO tombstone VALUES (?, ?, ?, ?, ?, ?)",
                [_tombstone_row(each) for each in change.buried],
            )
            rows = [(key, resource) for resource in change.put if (key := key_of(resource))]
            transaction.executemany("DELETE FROM tombstone WHERE kind = ? AND id = ?", [key for key, _ in rows])
            transaction.executemany(
                "INSERT OR REPLACE INTO resource VALUES (?, ?, ?)",
                [(*key, resource.SerializeToString()) for key, resource in rows],
            )
            transaction.executemany(
                "INSERT OR REPLACE INTO meta VALUES (?, ?)",
                [("revision", str(change.revision)), ("epoch", change.epoch)],
            )
            if change.unclaimed is not None:
                keys = json.dumps(sorted([key.kind, key.id] for key in change.unclaimed))
                transaction.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", ("unclaimed", keys))
            if change.full or change.unknown:
                unknown = ("unknown", ",".join(change.unknown))
                transaction.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", unknown)

    def _with_room(self, write: Callable[[], None]) -> None:
        """Write; on a full disk free the reserve and write once more. Reserve again when there is room."""
        try:
            write()
        except sqlite3.Error as error:
            with self._reserve_lock:
                if error.sqlite_errorcode not in _FULL or not self._reserve.give_up():
                    raise
            write()
        else:
            with self._reserve_lock:
                self._reserve.take()

    def _wipe_keys(self, change: Change) -> None:
        """Where a key may have been removed, leave none in the write-ahead log either; what is deleted is overwritten.

        A long read of the file by another process prevents this: then it fails, and the next change tries again.
        """
        bodies = [*change.put, *(stone.body for stone in change.buried if stone.body is not None)]
        left = self._with_role.intersection(body.id for body in bodies)  # with credentials that it no longer has
        self._with_role -= left
        self._with_role |= {body.id for body in change.put if _has_role(body)}
        if left or any(_may_have_had_key(body) for body in bodies):
            self._must_wipe = True
        if self._must_wipe:
            (is_busy, _, _) = self._durable.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if is_busy:
                raise sqlite3.OperationalError("keys cannot be wiped while somebody reads the file")
            self._must_wipe = False

    def done(self, key: Key, revision: int) -> None:
        """Record that nothing is left of a resource with a tombstone, unless that has another revision by now."""
        rows = [(*key, revision)]
        self._note("UPDATE tombstone SET done = 1, body = NULL WHERE kind = ? AND id = ? AND revision = ?", rows)

    def forget(self, revisions: Iterable[tuple[Key, int]]) -> None:
        """Delete tombstones, done or not, except those with other revisions: they are newer tombstones."""
        rows = [(*key, revision) for key, revision in revisions]
        self._note("DELETE FROM tombstone WHERE kind = ? AND id = ? AND revision = ?", rows)

    def hold(self, machine_id: str, held: Held) -> None:
        """Record what a guest may have in use."""
        if held:
            body = json.dumps({"volumes": sorted(held.volumes), "interfaces": sorted(held.interfaces)})
            self._note("INSERT OR REPLACE INTO held VALUES (?, ?)", [(machine_id, body)])
        else:
            self._note("DELETE FROM held WHERE machine_id = ?", [(machine_id,)])

    def close(self) -> None:
        """Close the file."""
        self._quick.close()
        self._durable.close()

    def _note(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        many = list(rows)

        def write() -> None:
            with self._quick_lock, self._quick as transaction:
                transaction.executemany(statement, many)

        try:
            self._with_room(write)
        except sqlite3.Error as error:
            raise StoreError(f"cannot note what was done: {error}") from error


def _connect(path: Path, synchronous: str) -> sqlite3.Connection:
    """Open the file in write-ahead mode."""
    connection = sqlite3.connect(path, timeout=30, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("PRAGMA cache_size = -256")
    connection.execute("PRAGMA secure_delete = ON")  # deleted keys of encrypted volumes are overwritten
    return connection


def _create_tables(connection: sqlite3.Connection) -> None:
    """Create the tables of a new file; refuse one that a newer agent wrote."""
    with closing(connection.cursor()) as cursor:
        (version,) = cursor.execute("PRAGMA user_version").fetchone()
        if version > _SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"written by a newer agent (version {version})")
        if version == 0:
            cursor.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {_SCHEMA_VERSION}; COMMIT;")


def _tombstone(row: tuple["Kind.ValueType", str, int, int, bytes | None, int]) -> Tombstone:
    kind, name, revision, force, body, done = row
    resource = Resource.FromString(body) if body is not None else None
    return Tombstone(Key(kind, name), revision, bool(force), resource, bool(done))


def pool_address(path: Path) -> str:
    """Return the host's own address of the first public pool, as such a file has it; empty if it has none."""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            row = database.execute("SELECT body FROM resource WHERE kind = ? AND id = ?", HOST_NETWORK).fetchone()
    except sqlite3.Error as error:
        raise StoreError(f"cannot read the desired state: {error}") from error
    return Resource.FromString(row[0]).host_network.host_address if row is not None else ""


def _may_have_had_key(resource: Resource) -> bool:
    match resource.WhichOneof("body"):
        case "volume":
            return resource.volume.encrypted
        case "base":
            return resource.base.encrypted
        case "snapshot":
            return bool(resource.snapshot.encryption_key)
        case "machine":
            return _has_role(resource) or resource.machine.HasField("tpm") or resource.machine.HasField("firmware")
        case _:
            return False


def _has_role(resource: Resource) -> bool:
    return resource.machine.metadata.HasField("role")


def without_key(resource: Resource) -> Resource:
    """Return a resource that is to be removed without its key, which removal does not need."""
    if not _may_have_had_key(resource):
        return resource
    bare = Resource.FromString(resource.SerializeToString())
    if bare.HasField("machine"):
        bare.machine.metadata.ClearField("role")
        bare.machine.ClearField("tpm")
        bare.machine.ClearField("firmware")
        return bare
    getattr(bare, bare.WhichOneof("body") or "").ClearField("encryption_key")
    return bare


def _tombstone_row(each: Tombstone) -> tuple[int, str, int, bool, bytes | None, bool]:
    body = without_key(each.body).SerializeToString() if each.body is not None else None
    return (each.key.kind, each.key.id, each.revision, each.force, body, each.done)
