"""Bindings for Ceph's C libraries, librados and librbd, as far as a pool of disks needs them.

They are called in this process: each reconciliation of a unit looks up its disk, and a run of the `rbd` program would
connect each time, which takes longer than all else. Debian's python3-rbd works only with Debian's Python, not in a
virtual environment. Signatures: rados/librados.h and rbd/librbd.h of Debian's librados-dev and librbd-dev.
"""

import contextlib
import ctypes
import errno
import functools
import json
import os
import weakref
from collections.abc import Iterator, Sequence
from ctypes import POINTER, byref, c_char, c_char_p, c_int, c_size_t, c_uint64, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

# Seconds that a call waits for a cluster that does not answer; QEMU's own connections wait longer.
_PATIENCE: Final = {b"client_mount_timeout": b"5", b"rados_mon_op_timeout": b"5", b"rados_osd_op_timeout": b"30"}
# librbd.h: layering, exclusive-lock, object-map, fast-diff and deep-flatten, the defaults of `rbd create`.
_FEATURES: Final = 1 | 4 | 8 | 16 | 32
_NAME_BYTES: Final = 4096
_MOST_WATCHERS: Final = 16
_RESULTS: Final = {
    "rbd_read": ctypes.c_ssize_t,
    "rbd_write": ctypes.c_ssize_t,
    "rados_ioctx_get_id": ctypes.c_int64,
}


class CephError(Exception):
    """A Ceph call failed with this `errno`."""

    def __init__(self, number: int, what: str) -> None:
        self.errno = number
        super().__init__(f"{what}: {os.strerror(number)}")


class _ImageSpec(ctypes.Structure):
    """rbd_image_spec_t."""

    _fields_ = (("id", c_char_p), ("name", c_char_p))


class _Watcher(ctypes.Structure):
    """rbd_image_watcher_t."""

    _fields_ = (("addr", c_char_p), ("id", ctypes.c_int64), ("cookie", c_uint64))


class _TrashInfo(ctypes.Structure):
    """rbd_trash_image_info_t."""

    _fields_ = (
        ("id", c_char_p),
        ("name", c_char_p),
        ("source", c_int),
        ("deletion_time", ctypes.c_long),
        ("deferment_end_time", ctypes.c_long),
    )


@dataclass(frozen=True, slots=True)
class Trashed:
    """An image in Ceph's trash, which `rbd trash restore` can restore."""

    id: str
    name: str
    kept_until: int  # Unix seconds


class Cluster:
    """A connection to a pool of a Ceph cluster; may be used by several threads."""

    def __init__(self, conf: Path, user: str, pool: str) -> None:
        """Connect as a cephx user whose key is where the settings say; raises CephError."""
        rados, rbd = _libraries()
        self._rados, self._rbd = rados, rbd
        handle, io = c_void_p(), c_void_p()
        _check(rados.rados_create(byref(handle), user.encode()), f"client.{user}")
        try:
            _check(rados.rados_conf_read_file(handle, os.fsencode(conf)), f"{conf}")
            for option, value in _PATIENCE.items():
                _check(rados.rados_conf_set(handle, option, value), option.decode())
            self.keyrings = _setting(handle, "keyring")
            _check(rados.rados_connect(handle), f"connecting as client.{user} with {conf}")
            _check(rados.rados_ioctx_create(handle, pool.encode(), byref(io)), f"pool {pool}")
        except CephError:
            rados.rados_shutdown(handle)
            raise
        rados.rados_set_pool_full_try(io)  # a full pool must raise an error at once
        self._handle, self._io = handle, io
        self.close = weakref.finalize(self, _close, rados, handle, io)

    def place(self) -> str:
        """Return an id of this pool, unique among all clusters."""
        buffer = ctypes.create_string_buffer(_NAME_BYTES)
        _check(self._rados.rados_cluster_fsid(self._handle, buffer, _NAME_BYTES), "the cluster's id")
        return f"{buffer.value.decode()}/{self._rados.rados_ioctx_get_id(self._io)}"

    def ask_monitor(self, **question: str) -> Any:
        """Send a command to a monitor, and return its JSON answer."""
        words = (c_char_p * 1)(json.dumps({**question, "format": "json"}).encode())
        outbuf, outs = POINTER(c_char)(), POINTER(c_char)()
        outbuf_len, outs_len = c_size_t(), c_size_t()
        status = self._rados.rados_mon_command(
            *(self._handle, words, 1, b"", 0, byref(outbuf), byref(outbuf_len), byref(outs), byref(outs_len))
        )
        try:
            _check(status, question["prefix"])
            return json.loads(ctypes.string_at(outbuf, outbuf_len.value))
        finally:
            self._rados.rados_buffer_free(outbuf)
            self._rados.rados_buffer_free(outs)

    # -- images

    def has(self, image: str) -> bool:
        """Tell whether there is an image of this name: reads only the object that stores its id."""
        status = self._rados.rados_stat(self._io, f"rbd_id.{image}".encode(), None, None)
        if status == -errno.ENOENT:
            return False
        _check(status, image)
        return True

    def images(self) -> frozenset[str]:
        """List the images of the pool, including those of other hosts."""
        count = c_size_t(256)
        while True:
            found = (_ImageSpec * count.value)()
            status = self._rbd.rbd_list2(self._io, found, byref(count))
            if status != -errno.ERANGE:
                break
        _check(status, "list of images")
        names = frozenset(each.name.decode() for each in found[: count.value])
        self._rbd.rbd_image_spec_list_cleanup(found, count)
        return names

    def create(self, image: str, size: int) -> None:
        """Create a thin-provisioned image of so many bytes."""
        order = c_int(0)
        _check(self._rbd.rbd_create2(self._io, image.encode(), size, _FEATURES, byref(order)), image)

    def rename(self, image: str, name: str) -> None:
        """Rename an image."""
        _check(self._rbd.rbd_rename(self._io, image.encode(), name.encode()), f"{image} -> {name}")

    def remove(self, image: str) -> None:
        """Delete an image; no process may have it open."""
        _check(self._rbd.rbd_remove(self._io, image.encode()), image)

    def fence(self, image: str, seconds: int) -> int:
        """Block all clients that have an image open for writing, on any host, from writing to this cluster.

        Ceph blocklists them for so many seconds; other clients on the same hosts are unaffected. Returns the number of
        clients. Each has a watch on the image and, once it wrote, the image's lock.
        """
        with self._opened(image, writable=False) as handle:
            addresses = {*self._watchers(handle, image), *self._lock_owners(handle, image)}
        for address in sorted(addresses):
            _check(self._rados.rados_blocklist_add(self._handle, address, seconds), f"blocklisting {address.decode()}")
        # From here on OSDs do not serve our requests until they know the blocklist, too.
        _check(self._rados.rados_wait_for_latest_osdmap(self._handle), "waiting for the disks' map")
        return len(addresses)

    def _watchers(self, handle: c_void_p, image: str) -> list[bytes]:
        count = c_size_t(_MOST_WATCHERS)
        found = (_Watcher * _MOST_WATCHERS)()
        _check(self._rbd.rbd_watchers_list(handle, found, byref(count)), image)
        addresses = [bytes(each.addr) for each in found[: count.value]]
        self._rbd.rbd_watchers_list_cleanup(found, count)
        return addresses

    def _lock_owners(self, handle: c_void_p, image: str) -> list[bytes]:
        """Return the addresses of the lock's owners: one, whether it still watches or counts as dead."""
        exclusive = c_int()
        buffers = [ctypes.create_string_buffer(_NAME_BYTES) for _ in range(4)]  # tag, clients, cookies, addresses
        lengths = [c_size_t(_NAME_BYTES) for _ in buffers]
        places = [part for buffer, length in zip(buffers, lengths, strict=True) for part in (buffer, byref(length))]
        _check(self._rbd.rbd_list_lockers(handle, byref(exclusive), *places), image)
        return [each for each in buffers[3].raw[: lengths[3].value].split(b"\0") if each]

    def read(self, image: str, length: int) -> bytes:
        """Read an image's first bytes, even if it is open elsewhere."""
        buffer = ctypes.create_string_buffer(length)
        with self._opened(image, writable=False) as handle:
            found = _check(self._rbd.rbd_read(handle, 0, length, buffer), image)
            return buffer.raw[:found]

    def write(self, image: str, pieces: Sequence[tuple[int, bytes]]) -> None:
        """Write pieces at offsets; they are on the disks when this returns."""
        with self._opened(image, writable=True) as handle:
            for offset, piece in pieces:
                _check(self._rbd.rbd_write(handle, offset, len(piece), piece), image)
            _check(self._rbd.rbd_flush(handle), image)

    def grow(self, image: str, size: int) -> None:
        """Grow an image to at least so many bytes; EBUSY if it must grow and is open for writing anywhere."""
        with self._opened(image, writable=False) as handle:
            present = c_uint64()
            _check(self._rbd.rbd_get_size(handle, byref(present)), image)
            if present.value >= size:
                return
            if self._watchers(handle, image):
                raise CephError(errno.EBUSY, image)
        with self._opened(image, writable=True) as handle:
            _check(self._rbd.rbd_resize(handle, size), image)

    @contextlib.contextmanager
    def _opened(self, image: str, *, writable: bool) -> Iterator[c_void_p]:
        opens = self._rbd.rbd_open if writable else self._rbd.rbd_open_read_only
        handle = c_void_p()
        _check(opens(self._io, image.encode(), byref(handle), None), image)
        try:
            yield handle
        finally:
            self._rbd.rbd_close(handle)

    # -- trash

    def discard(self, image: str, seconds: int) -> None:
        """Move an image to the trash, where it stays for so many seconds."""
        _check(self._rbd.rbd_trash_move(self._io, image.encode(), seconds), image)

    def trash(self) -> tuple[Trashed, ...]:
        """List the trash, including images of other hosts."""
        count = c_size_t(256)
        while True:
            found = (_TrashInfo * count.value)()
            status = self._rbd.rbd_trash_list(self._io, found, byref(count))
            if status != -errno.ERANGE:
                break
        _check(status, "list of the trash")
        rows = found[: count.value]
        listed = tuple(Trashed(row.id.decode(), row.name.decode(), row.deferment_end_time) for row in rows)
        self._rbd.rbd_trash_list_cleanup(found, count)
        return listed

    def delete_trashed(self, trashed: Trashed) -> None:
        """Delete an image from the trash, even before its time."""
        _check(self._rbd.rbd_trash_remove(self._io, trashed.id.encode(), True), trashed.name)


def setting(conf: Path, user: str, name: str) -> str:
    """Read a setting of a cluster for a user, with file names expanded; raises CephError."""
    rados, _rbd = _libraries()
    handle = c_void_p()
    _check(rados.rados_create(byref(handle), user.encode()), f"client.{user}")
    try:
        _check(rados.rados_conf_read_file(handle, os.fsencode(conf)), f"{conf}")
        return _setting(handle, name)
    finally:
        rados.rados_shutdown(handle)


def _setting(handle: c_void_p, name: str) -> str:
    rados, _rbd = _libraries()
    buffer = ctypes.create_string_buffer(_NAME_BYTES)
    _check(rados.rados_conf_get(handle, name.encode(), buffer, _NAME_BYTES), name)
    return buffer.value.decode()


def _check(status: int, what: str) -> int:
    """Return the result of a call, or raise its error."""
    if status < 0:
        raise CephError(-status, what)
    return status


def _close(rados: ctypes.CDLL, handle: c_void_p, io: c_void_p) -> None:
    rados.rados_ioctx_destroy(io)
    rados.rados_shutdown(handle)


@functools.cache
def _libraries() -> tuple[ctypes.CDLL, ctypes.CDLL]:
    """Load librados and librbd, and declare their functions; raises CephError when they are not installed."""
    try:
        rados, rbd = ctypes.CDLL("librados.so.2"), ctypes.CDLL("librbd.so.1")
    except OSError as error:
        raise CephError(errno.ELIBACC, "librbd1 and qemu-block-extra must be installed") from error
    pointer, name, number = c_void_p, c_char_p, c_uint64
    size = POINTER(c_size_t)
    takes: dict[str, tuple[Any, ...]] = {
        "rados_create": (pointer, name),
        "rados_conf_read_file": (pointer, name),
        "rados_conf_set": (pointer, name, name),
        "rados_conf_get": (pointer, name, pointer, c_size_t),
        "rados_connect": (pointer,),
        "rados_ioctx_create": (pointer, name, pointer),
        "rados_ioctx_destroy": (pointer,),
        "rados_set_pool_full_try": (pointer,),
        "rados_shutdown": (pointer,),
        "rados_stat": (pointer, name, pointer, pointer),
        "rados_buffer_free": (pointer,),
        "rados_mon_command": (pointer, pointer, c_size_t, name, c_size_t, pointer, size, pointer, size),
        "rados_cluster_fsid": (pointer, pointer, c_size_t),
        "rados_ioctx_get_id": (pointer,),
        "rados_blocklist_add": (pointer, name, ctypes.c_uint32),
        "rados_wait_for_latest_osdmap": (pointer,),
        "rbd_list_lockers": (pointer, pointer, name, size, name, size, name, size, name, size),
        "rbd_list2": (pointer, pointer, size),
        "rbd_image_spec_list_cleanup": (pointer, c_size_t),
        "rbd_create2": (pointer, name, number, number, pointer),
        "rbd_rename": (pointer, name, name),
        "rbd_remove": (pointer, name),
        "rbd_open": (pointer, name, pointer, name),
        "rbd_open_read_only": (pointer, name, pointer, name),
        "rbd_close": (pointer,),
        "rbd_read": (pointer, number, c_size_t, pointer),
        "rbd_write": (pointer, number, c_size_t, name),
        "rbd_flush": (pointer,),
        "rbd_get_size": (pointer, pointer),
        "rbd_resize": (pointer, number),
        "rbd_watchers_list": (pointer, pointer, size),
        "rbd_watchers_list_cleanup": (pointer, c_size_t),
        "rbd_trash_move": (pointer, name, number),
        "rbd_trash_list": (pointer, pointer, size),
        "rbd_trash_list_cleanup": (pointer, c_size_t),
        "rbd_trash_remove": (pointer, name, ctypes.c_bool),
    }
    for function, arguments in takes.items():
        call = getattr(rados if function.startswith("rados") else rbd, function)
        call.argtypes = arguments
        call.restype = _RESULTS.get(function, c_int)
    return rados, rbd
