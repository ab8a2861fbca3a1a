"""Implements `interface.py` with a qemu-storage-daemon per volume.

A daemon with another configuration than needed is ended and replaced: its configuration is written to a file once it is
fully applied, so that a later agent can compare it, and does not take a half-configured daemon for a complete one.
"""

import json
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from stead_agent.disks import disk_users
from stead_agent.disks.disk_sources import Layer, NbdSource, RbdSource
from stead_agent.disks.exports import daemon, graph, growth
from stead_agent.disks.exports.daemon import DaemonFiles
from stead_agent.disks.exports.graph import Command
from stead_agent.disks.exports.interface import Export, ExportError, HomeAwayError, Remote
from stead_agent.disks.exports.qmp import Qmp, RefusedError
from stead_agent.disks.nbd import secured
from stead_agent.logs import Log
from stead_agent.programs.processes import Watch
from stead_proto import tls
from stead_proto.nbd.wire import NbdError
from stead_proto.tls import Identity, NoIdentityError, write_private

_log = Log(__name__)

_VOLUME_ID: Final = re.compile(r"vol-[0-9a-f]{8,17}\Z")
_ANSWER_SECONDS: Final = 10.0
_HOME_SECONDS: Final = 2.0  # time limit for a home to answer
_PASSABLE: Final = 0o711
_REFUSAL: Final = ".refusal"
_OWNER: Final = ".owner"


class StorageDaemons:
    """The Exports of a real host; `folder` is its own, other hosts reach this one at `address`."""

    def __init__(
        self,
        folder: Path,
        address: str,
        identity: Callable[[], Identity],
        former: Callable[[], Identity | None] = lambda: None,
    ) -> None:
        """Find the daemons that an earlier agent started; `former` is the identity of before the last enrolment."""
        self._folder = folder
        self._address = address
        self._identity = identity
        self._former = former
        self._lock = threading.Lock()
        self._sources: dict[str, NbdSource] = {}
        self._callbacks: list[Callable[[str], None]] = []
        folder.mkdir(mode=_PASSABLE, parents=True, exist_ok=True)
        self._watch = Watch(self._ended, "storage-daemons")
        for volume_id in self.present():
            self._adopt(volume_id)
        for path in folder.glob(f"*{_REFUSAL}"):  # of an agent that was interrupted: a guest may wait for its end
            volume_id = path.name.removesuffix(_REFUSAL)
            self._sources[volume_id] = NbdSource(self._place(volume_id).socket, volume_id)

    def serve(self, export: Export) -> None:
        """Serve the volume as described."""
        if not self._address:
            raise ExportError(f"{export.volume_id}: other hosts cannot reach this one: it has no underlay address")
        place = self._place(export.volume_id)
        former = self._former() if export.by_former else None
        about = self._with_certificate(place, _about_export(export, self._address), former)
        if self._is_right(export.volume_id, place, about) or self._admits_again(place, export, about):
            return
        differs_by_certificate = self._differs_by_certificate(export.volume_id, place, about)
        if differs_by_certificate and export.confirmed_by != self._identity().authorities:
            return
        self._end(export.volume_id, place)
        try:
            disk_users.give(export.disk.source, place.uid)
            if export.base:
                disk_users.allow_read(export.base.source, place.uid)
        except disk_users.DiskAccessError as error:
            raise ExportError(f"{export.volume_id}: {error}") from error
        commands = graph.serving(export, self._address, place.credentials)
        self._start(export.volume_id, place, about, [("server", commands)], None, identity=former)
        _log.info("volume_served", volume=export.volume_id, to=export.client_host_id, generation=export.generation)

    def _admits_again(self, place: DaemonFiles, export: Export, about: str) -> bool:
        """Have a daemon that differs by its clients alone admit those of now; tell whether it is then right.

        That of an earlier agent admits the host alone, any other one a host by its certificate of an earlier enrolment.
        """
        present, wanted = (json.loads(text) for text in (_read(place.about) or "{}", about))
        for configuration in (present, wanted):
            configuration.get("serve", {}).pop("clients", None)
        if present != wanted:
            return False
        place.about.unlink()  # after an interruption from here on, another is started
        try:
            with Qmp(place.monitor, _ANSWER_SECONDS) as monitor:
                for command in graph.admit_again(export):
                    _execute(monitor, command)
        except ExportError as error:
            _log.warning("served_anew", volume=export.volume_id, reason=str(error))
            return False
        write_private(place.about, about.encode())
        return True

    def grow(self, volume_id: str, size: int) -> None:
        """Grow a volume that is served; if that fails halfway, the daemon is ended."""
        place = self._place(volume_id)
        about = _read(place.about)
        if about is None or "serve" not in (configuration := json.loads(about)):
            raise ExportError(f"{volume_id} is not served")
        place.about.unlink()
        try:
            with Qmp(place.monitor, _ANSWER_SECONDS) as monitor:
                flushes = graph.flushes_each_write(configuration["serve"]["disk"][0])
                growth.grow_at_home(monitor, volume_id, size, flushes_each_write=flushes)
        except ExportError as error:
            self._end(volume_id, place)
            raise ExportError(f"{volume_id}: not grown: {error}") from error
        write_private(place.about, about.encode())
        _log.info("served_volume_grown", volume=volume_id, size=size)

    def connect(self, remote: Remote) -> NbdSource:
        """Run a proxy for the volume with this size, and none for an earlier attachment."""
        place = self._place(remote.volume_id)
        wanted = {"connect": {**asdict(remote), "size": None}}
        about = self._with_certificate(place, wanted)
        source = NbdSource(place.socket, remote.volume_id)
        if self._differs_by_certificate(remote.volume_id, place, about) and not self._is_admitted(remote):
            about = _read(place.about) or about
        if not self._is_right(remote.volume_id, place, about):
            owner = self._note_owner(remote.volume_id, place)
            former = self._former()
            if former is not None and self._is_admitted(remote):
                former = None
            about = self._with_certificate(place, wanted, former)
            self._end(remote.volume_id, place, keeps_source=True)
            steps = [
                ("client", graph.connecting(remote, place.credentials)),
                ("", graph.offering(remote, place.socket)),
            ]
            uid = None if owner == place.uid else owner
            self._start(remote.volume_id, place, about, steps, uid, identity=former)
            self._owner(remote.volume_id).unlink(missing_ok=True)
            _log.info("volume_brought", volume=remote.volume_id, of=remote.home_host_id, generation=remote.generation)
        with self._lock:
            self._sources[remote.volume_id] = source
        self._follow_growth(place, remote, about)
        return source

    def _follow_growth(self, place: DaemonFiles, remote: Remote, about: str) -> None:
        """Show a guest the size to which the home has grown the volume."""
        with Qmp(place.monitor, _ANSWER_SECONDS) as monitor:
            if growth.size_of(monitor) >= remote.size:
                return
            growth.has_grown(monitor, remote)
            place.about.unlink()  # after an interruption from here on, another proxy is started
            growth.swap(monitor, remote)
        write_private(place.about, about.encode())
        _log.info("brought_volume_grown", volume=remote.volume_id, size=remote.size)

    def refuse(self, volume_id: str) -> None:
        """Replace the proxy by a daemon that answers with errors."""
        place = self._place(volume_id)
        begun = _read(self._refusal(volume_id))
        if begun is None:
            about = _read(place.about)
            if about is None or "connect" not in json.loads(about):
                return
            with Qmp(place.monitor, _ANSWER_SECONDS) as monitor:
                size = growth.size_of(monitor)
            begun = json.dumps({"size": size, "owner": self._note_owner(volume_id, place)})
            write_private(self._refusal(volume_id), begun.encode())
        refusal = json.loads(begun)
        size, owner = int(refusal["size"]), refusal["owner"]
        self._end(volume_id, place, keeps_source=True)
        steps = [("", graph.refusing(volume_id, size, place.socket))]
        self._start(volume_id, place, json.dumps({"refuse": volume_id}), steps, None if owner == place.uid else owner)
        self._refusal(volume_id).unlink()
        _log.warning("volume_refused", volume=volume_id)

    def generation(self, volume_id: str) -> int | None:
        """Return the attachment to which the volume is served."""
        about = _read(self._place(volume_id).about)
        served = json.loads(about).get("serve") if about else None
        return int(served["generation"]) if served else None

    def source(self, volume_id: str) -> NbdSource | None:
        """Return where a guest finds a volume of another host."""
        with self._lock:
            return self._sources.get(volume_id)

    def end(self, volume_id: str) -> None:
        """Stop serving the volume and end its proxy."""
        place = self._place(volume_id)
        if place.folder.exists() or self._refusal(volume_id).exists() or self._owner(volume_id).exists():
            self._end(volume_id, place)
            self._refusal(volume_id).unlink(missing_ok=True)
            self._owner(volume_id).unlink(missing_ok=True)
            _log.info("volume_no_longer_shared", volume=volume_id)

    def is_outdated(self, volume_id: str) -> bool:
        """Tell whether a volume's daemon uses a certificate that the host has renewed since."""
        configuration = json.loads(_read(self._place(volume_id).about) or "{}")
        return bool(configuration.get("certificate", "") != self._certificate(configuration))

    def outdated(self) -> frozenset[str]:
        """List the volumes whose daemons use a certificate that the host has renewed since."""
        return frozenset(volume_id for volume_id in self.present() if self.is_outdated(volume_id))

    def present(self) -> frozenset[str]:
        """List the volumes that have a daemon or leftovers of one."""
        return frozenset(path.name for path in self._folder.iterdir() if _VOLUME_ID.match(path.name))

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """Call the callback when a daemon ended by itself."""
        self._callbacks.append(callback)

    def close(self) -> None:
        """End our threads."""
        self._watch.close()

    def _place(self, volume_id: str) -> DaemonFiles:
        if not _VOLUME_ID.match(volume_id):
            raise ExportError(f"no volume's id: {volume_id!r}")
        return DaemonFiles(self._folder / volume_id, disk_users.uid_of(volume_id))

    def _adopt(self, volume_id: str) -> None:
        place = self._place(volume_id)
        about = _read(place.about)
        pid = daemon.find(place)
        if about is None or pid is None:
            return  # the next reconciliation ends it, and restarts it if it is still desired
        self._follow(volume_id, pid)
        if "connect" in json.loads(about):
            self._sources[volume_id] = NbdSource(place.socket, volume_id)

    def _refusal(self, volume_id: str) -> Path:
        """Return the path of the marker that exists while a proxy is replaced by a daemon that answers with errors."""
        return self._folder / f"{volume_id}{_REFUSAL}"

    def _owner(self, volume_id: str) -> Path:
        """Return the path of the note who uses a proxy's socket, which exists while another proxy takes its place."""
        return self._folder / f"{volume_id}{_OWNER}"

    def _note_owner(self, volume_id: str, place: DaemonFiles) -> int | None:
        """Return the user to whom a proxy's socket was given, and note it: the next proxy may not start at once."""
        note = self._owner(volume_id)
        owner = daemon.socket_owner(place)
        if owner is not None and owner != place.uid:
            write_private(note, str(owner).encode())
            return owner
        noted = _read(note)
        return int(noted) if noted else owner

    def _with_certificate(self, place: DaemonFiles, about: dict[str, Any], other: Identity | None = None) -> str:
        """Render a daemon's configuration together with its certificate: the host's own, or another one."""
        present = json.loads(_read(place.about) or "{}")
        certificate = _digest(other) if other is not None else self._certificate(present)
        return json.dumps({**about, "certificate": certificate}, sort_keys=True)

    def _certificate(self, present: Mapping[str, Any]) -> str:
        """Identify the host's certificate; while none can be read, the one in a daemon's configuration."""
        if "refuse" in present:
            return ""
        try:
            return _digest(self._identity())
        except NoIdentityError:
            return str(present.get("certificate", ""))

    def _is_right(self, volume_id: str, place: DaemonFiles, about: str) -> bool:
        """Tell whether the daemon runs with exactly this configuration."""
        return self._watch.sees(volume_id) and _read(place.about) == about

    def _differs_by_certificate(self, volume_id: str, place: DaemonFiles, about: str) -> bool:
        """Tell whether the daemon runs with this configuration but for the host's certificate."""
        present = json.loads(_read(place.about) or "{}")
        wanted = json.loads(about)
        is_other = present.pop("certificate", "") != wanted.pop("certificate")
        return is_other and present == wanted and self._watch.sees(volume_id)

    def _is_admitted(self, remote: Remote) -> bool:
        """Tell whether the home lets us in with the host's certificate of now."""
        home = secured.Server(remote.address, remote.port, tls.host_server_name(remote.home_host_id))
        try:
            secured.size_of(home, remote.volume_id, self._identity(), _HOME_SECONDS)
        except (NbdError, NoIdentityError) as error:
            _log.debug("proxy_keeps_certificate", volume=remote.volume_id, reason=str(error))
            return False
        return True

    def _start(
        self,
        volume_id: str,
        place: DaemonFiles,
        about: str,
        steps: Iterable[tuple[str, Iterable[Command]]],
        socket_owner: int | None,
        *,
        identity: Identity | None = None,
    ) -> None:
        """Start a daemon and configure it, by the host's own `identity` if none is given; on failure it is ended."""
        try:
            pid = daemon.start(place)
            with Qmp(place.monitor, _ANSWER_SECONDS) as monitor:
                for endpoint, commands in steps:
                    self._send(monitor, place, endpoint, commands, identity)
            if socket_owner is not None:
                disk_users.give(NbdSource(place.socket), socket_owner)
            write_private(place.about, about.encode())
        except (ExportError, OSError, disk_users.DiskAccessError) as error:
            if place.folder.exists():
                daemon.end(place)
            if isinstance(error, HomeAwayError):
                raise
            raise ExportError(f"{volume_id}: {error}") from error
        self._follow(volume_id, pid)

    def _follow(self, volume_id: str, pid: int) -> None:
        """Watch for the end of a daemon, also if it has ended already."""
        if not self._watch.add(volume_id, pid):
            self._ended(volume_id)

    def _send(
        self, monitor: Qmp, place: DaemonFiles, endpoint: str, commands: Iterable[Command], identity: Identity | None
    ) -> None:
        """Send commands to a daemon; meanwhile it may read the host's key, which it needs as a TLS endpoint."""
        if not endpoint:
            for command in commands:
                _execute(monitor, command)
            return
        try:
            identity = identity or self._identity()
        except NoIdentityError as error:
            raise ExportError(str(error)) from error
        with daemon.credentials(place, identity, endpoint):
            for command in commands:
                try:
                    _execute(monitor, command)
                except ExportError as error:
                    if command.arguments.get("driver") == "nbd" and endpoint == "client":
                        raise HomeAwayError(f"{place.folder.name}: its home: {error}") from error
                    raise

    def _end(self, volume_id: str, place: DaemonFiles, *, keeps_source: bool = False) -> None:
        """End the daemon of a volume, if there is one or leftovers of one."""
        self._watch.drop(volume_id)
        if not keeps_source:
            with self._lock:
                self._sources.pop(volume_id, None)
        if place.folder.exists():
            place.about.unlink(missing_ok=True)
            daemon.end(place)

    def _ended(self, volume_id: str) -> None:
        _log.warning("storage_daemon_ended", volume=volume_id)
        for callback in self._callbacks:
            callback(volume_id)


def _execute(monitor: Qmp, command: Command) -> None:
    """Execute a command, with threads where io_uring is refused."""
    try:
        monitor.execute(command.name, command.arguments)
    except RefusedError:
        plain = command.with_threads()
        if plain is None:
            raise
        monitor.execute(plain.name, plain.arguments)


def _about_export(export: Export, address: str) -> dict[str, Any]:
    """Describe what a daemon serves; the key appears only as whether there is one."""
    about: dict[str, Any] = {
        "generation": export.generation,
        "client_host_id": export.client_host_id,
        "address": address,
        "port": export.port,
        "disk": _layer(export.disk),
        "base": _layer(export.base) if export.base else None,
        "encrypted": bool(export.encryption_key),
        "clients": graph.clients(export),
    }
    return {"serve": about}


def _digest(identity: Identity) -> str:
    return sha256(identity.certificate_pem).hexdigest()


def _layer(layer: Layer) -> list[str]:
    source = layer.source
    match source:
        case NbdSource(socket):
            where = str(socket)
        case RbdSource(pool, image, conf, user):
            where = f"{user}@{conf}:{pool}/{image}"
        case _:
            where = str(source.path)
    return [layer.format, type(source).__name__, where]


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
