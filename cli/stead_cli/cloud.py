"""The single-machine cloud as two programs: how they are started, whether they answer, and who may use them."""

import contextlib
import fcntl
import http.client
import importlib.util
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from stead_cli import block_store, metrics_engine, object_store, processes, services, traces, units
from stead_cli.errors import CliError
from stead_cli.operator import Operator
from stead_cli.processes import Began, Program
from stead_cli.settings import Settings
from stead_cli.waiting import wait_for
from stead_proto import alone, tls
from stead_proto.v1 import operator_pb2 as pb

BIN: Final = Path(sys.executable).parent
RIG_FILE: Final = "rig.json"  # in a rig's state directory: what `rig up` ran with
_CONTROLLER_SECONDS: Final = 120.0  # it needs 3 s of a processor, which may be busy; one that exits is noticed at once
_DATABASE_SECONDS: Final = 10
HOST_SECONDS: Final = 120.0  # the test of KVM boots a guest, and libvirt may have to be started
_ACCESS_FILES: Final = ("ca.pem", "operator.pem", "operator-key.pem", "credentials.json")


def controller_program(settings: Settings) -> Program:
    """The controller of this state directory."""
    log = settings.log_dir / "controller.log"
    command: list[str | Path] = [
        BIN / "stead-controller",
        "run",
        f"--state-dir={settings.controller_dir}",
        f"--listen={settings.listen}",
        f"--guest-listen={settings.guest_listen}",
        f"--http-port={settings.http_port}",
        f"--https-port={settings.https_port}",
        f"--host-port={settings.host_port}",
        f"--enrolment-port={settings.enrolment_port}",
        f"--endpoint-port={settings.endpoint_port}",
        f"--serial-console-port={settings.serial_console_port}",
        f"--region={settings.region}",
        *(f"--zone={name}" for name in settings.zone_names),
        f"--public-pool={settings.public_pool}",
        f"--prometheus-port={settings.prometheus_port}",
        f"--prometheus-listen={settings.prometheus_listen}",
        f"--log-file={log}",
        f"--pid-file={_pid_file(settings, 'controller')}",
        *([f"--host-address={settings.host_address}"] if settings.host_address and settings.server_url else []),
        *database_options(settings),
        *block_store.options(settings),
        *object_store.options(settings),
        *metrics_engine.options(settings),
        *traces.controller_options(settings),
    ]
    unit = units.controller_unit(command, settings.controller_dir, log)
    return replace(
        _program(settings, "controller", command, unit, settings.controller_dir), has_stand_by=True, succeeds=True
    )


def database_options(settings: Settings) -> list[str]:
    """What names the database to the controller's programs, where it is not a file of Stead's own."""
    return [f"--database-url={settings.server_url}"] if settings.server_url else []


def require_database(settings: Settings) -> None:
    """Raise CliError where the driver of the database's server is missing, or the database is elsewhere so far."""
    if not settings.server_url:
        return
    if importlib.util.find_spec("psycopg") is None:
        raise CliError("the driver of PostgreSQL is not installed", f"{BIN}/pip install 'psycopg[binary]'")
    if settings.database_file.exists():
        raise CliError(
            f"the database of this cloud is {settings.database_file}, and STEAD_DATABASE_URL names another",
            "to move there: docs/operate/settings.md#postgresql; to stay: STEAD_DATABASE_URL=sqlite",
        )
    if not (settings.controller_dir / "ca.pem").exists() and _has_tables(settings.server_url):
        raise CliError(
            f"the database has a cloud, whose keys are not in {settings.controller_dir}",
            "of a further controller: copy them from the first, docs/operate/several-controllers.md; else bring a"
            " backup back to another, empty database: STEAD_DATABASE_URL=… ./stead backup restore",
        )


def _has_tables(url: str) -> bool:
    """Tell whether there is anything in a server's database: with new keys nobody could read what is sealed there."""
    import psycopg  # noqa: PLC0415 - an extra, which most clouds do not have

    try:
        with psycopg.connect(url.replace("+psycopg", "", 1), connect_timeout=_DATABASE_SECONDS) as connection:
            query = "SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = current_schema())"
            found = connection.execute(query).fetchone()
    except psycopg.Error as error:
        raise CliError(f"the database cannot be reached: {str(error).strip()}", "see: STEAD_DATABASE_URL") from error
    return bool(found and found[0])


def agent_program(settings: Settings, *options: str) -> Program:
    """The agent of this state directory, with further command line options."""
    log = settings.log_dir / "agent.log"
    command: list[str | Path] = [
        BIN / "stead-agent",
        f"--log-file={log}",
        "run",
        f"--state-dir={settings.agent_dir}",
        f"--run-dir={settings.volatile_dir / 'agent'}",
        f"--netns-dir={settings.netns_dir}",
        f"--controller={settings.controller_address or settings.listen}:{settings.host_port}",
        *([f"--underlay-address={settings.underlay_address}"] if settings.underlay_address else []),
        f"--uplink={settings.uplink}",
        f"--proof-image={settings.image_dir / 'micro.qcow2'}",
        *(f"--guest-port={port}" for port in settings.guest_ports),
        *([f"--guest-address={settings.listen}"] if settings.guests_may_reach_listen else []),
        *(f"--pool={pool}" for pool in settings.pools.split()),
        *(f"--device={device}" for device in settings.devices.split()),
        f"--prometheus-port={settings.agent_prometheus_port}",
        f"--prometheus-listen={settings.prometheus_listen}",
        *([f"--whole-cores={settings.whole_cores}"] if settings.whole_cores else []),
        *traces.options(settings),
        *options,
    ]
    unit = units.agent_unit(command, log, settings.unit("controller"))
    return _program(settings, "agent", command, unit, settings.agent_dir)


def object_store_program(settings: Settings) -> Program:
    """The object store, which the controller starts when it is first needed."""
    folder = settings.controller_dir / "object-store"
    return Program("object-store", [], folder / "weed.pid", folder / "weed.log", may_be_killed=True)


def metrics_program(settings: Settings) -> Program:
    """The engine of metrics, which the controller starts when it is first needed."""
    folder = settings.controller_dir / "metrics"
    return Program("metrics", [], folder / "victoria-metrics.pid", folder / "victoria-metrics.log")


def started_by_controller(settings: Settings) -> tuple[Program, Program]:
    """The programs that the controller starts, and that outlive it."""
    return object_store_program(settings), metrics_program(settings)


def _program(settings: Settings, name: str, command: list[str | Path], unit_text: str, state: Path) -> Program:
    return Program(
        name,
        command,
        _pid_file(settings, name),
        settings.log_dir / f"{name}.log",
        unit=settings.unit(name),
        unit_text=unit_text,
        lock_file=state / alone.FILE_NAME,
    )


def _pid_file(settings: Settings, name: str) -> Path:
    return settings.run_dir / f"{name}.pid"


def require_root(what: str) -> None:
    """Raise CliError unless run as root; set a umask with which libvirt can read images and users certificates.

    Files that must be private are given their mode explicitly, whatever umask this was started with.
    """
    if os.geteuid() != 0:
        raise CliError(f"{what} needs root", f"as root: ./stead {shlex.join(sys.argv[1:])}")
    os.umask(0o022)


@contextlib.contextmanager
def exclusively(settings: Settings) -> Iterator[None]:
    """Keep other processes from starting or stopping this cloud, or rig, meanwhile; makes the state directory."""
    settings.state_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    settings.run_dir.mkdir(mode=0o755, exist_ok=True)
    with (settings.run_dir / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CliError("another `stead` is starting or stopping this cloud", "wait until it is done") from None
        yield


@dataclass(frozen=True, slots=True)
class Health:
    """What the controller's health page reports."""

    answers: bool
    detail: str

    @property
    def is_well(self) -> bool:
        """Tell whether it answers and reports no problem."""
        return self.answers and self.detail == "ok"


def controller_health(settings: Settings) -> Health:
    """Ask the controller for its health."""
    connection = http.client.HTTPConnection(settings.listen, settings.http_port, timeout=3)
    try:
        connection.request("GET", "/_stead/health")
        return Health(answers=True, detail=json.load(connection.getresponse()).get("status", ""))
    except (OSError, ValueError, http.client.HTTPException) as error:
        return Health(answers=False, detail=str(error))
    finally:
        connection.close()


def refuse_rig(settings: Settings) -> None:
    """Raise CliError when the state directory is a rig's, which is not a single-machine cloud."""
    if (settings.state_dir / RIG_FILE).exists():
        raise CliError(f"{settings.state_dir} is a rig", "see: ./stead rig --help")


def start_controller(settings: Settings, start: Callable[[Program], None] = processes.start) -> Began:
    """Make sure the controller of this release runs, wait until it answers, and return what was done."""
    require_database(settings)
    block_store.require(settings)
    object_store.require(settings)
    metrics_engine.require(settings)
    traces.require(settings)
    program = controller_program(settings)
    if processes.find(program) is None and controller_health(settings).answers:
        names = "STEAD_HTTP_PORT, STEAD_HTTPS_PORT, STEAD_HOST_PORT, STEAD_ENROLMENT_PORT, STEAD_ENDPOINT_PORT"
        hint = f"stop it, or choose other ports: {names}"
        raise CliError(f"another controller already answers at port {settings.http_port}", hint)
    settings.controller_dir.mkdir(mode=0o700, exist_ok=True)  # its unit names this directory as writable
    _load_first(program)
    began = processes.ensure(program, start)
    wait_for(
        lambda: controller_health(settings).answers or ended(program),
        _CONTROLLER_SECONDS,
        lambda: failed(program, "does not answer"),
    )
    return began


def _load_first(controller: Program) -> None:
    """Have a new release's modules compiled while the former one still serves, or by whom systemd lets write them.

    One that cannot even be loaded raises CliError, and nothing was stopped.
    """
    pid = processes.find(controller)
    if processes.is_as_wanted(controller, pid) if pid is not None else not services.has_systemd() or _is_compiled():
        return
    command: list[str | Path] = [sys.executable, "-c", "import stead_controller.__main__ as it; it.load_all()"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CliError(f"the controller cannot be loaded:\n{done.stderr.strip()[-1500:]}")


def _is_compiled() -> bool:
    """Tell whether what is loaded last was: of a release that ran here, and that nobody should await now."""
    spec = importlib.util.find_spec("stead_controller")
    folders = spec.submodule_search_locations if spec is not None else None
    steps = [path for folder in folders or () for path in Path(folder, "db/migrations/versions").glob("*.py")]
    return bool(steps) and all(Path(importlib.util.cache_from_source(str(path))).exists() for path in steps)


def ended(program: Program) -> bool:
    """Raise CliError when a program that should run has exited; otherwise return False."""
    if processes.find(program) is None:
        raise failed(program, "ended")
    return False


def failed(program: Program, how: str) -> CliError:
    """The error to raise when a program failed, with the end of its log."""
    return CliError(
        f"the {program.name} {how}; the end of {program.log_file}:\n{processes.last_lines(program.log_file)}",
        f"all of it: ./stead logs {program.name}",
    )


def start_agent(settings: Settings) -> Began:
    """Make sure the agent of this release runs; return what was done."""
    return processes.ensure(agent_program(settings))


def wait_for_host(settings: Settings, since: int = 0) -> pb.Host:
    """Return this machine's host record when the controller sees it up and has a report from it after `since`.

    A host counts as up for a while after its last report: `since` (Unix milliseconds) distinguishes an agent that was
    just started from the one before it.
    """
    program = agent_program(settings)
    operator = Operator(settings)

    def this_host() -> pb.Host | None:
        ended(program)
        alive = (host for host in operator.list_hosts() if host.state == "up" and host.last_seen_milliseconds > since)
        return next((host for host in alive if not host.simulated), None)

    return wait_for(this_host, HOST_SECONDS, lambda: failed(program, "does not reach the controller"), poll=0.1)


def share_access(settings: Settings) -> None:
    """Publish the public files, and give the user behind sudo copies of the credentials that need no sudo to read."""
    for name, public in (("ca.pem", settings.ca_file), ("instance-identity.pem", settings.identity_file)):
        tls.write_public(public, (settings.controller_dir / name).read_bytes())
    uid, gid = sudo_user()
    if not uid:
        return
    settings.users_dir.mkdir(mode=0o711, exist_ok=True)
    folder = settings.users_dir / str(uid)
    folder.mkdir(mode=0o700, exist_ok=True)
    _give(settings, folder, uid, gid)
    os.chown(folder, uid, gid)


def renew_access(settings: Settings) -> None:
    """Publish the public files again, and renew the copies that users have, after the authority was changed."""
    share_access(settings)
    for folder in settings.users_dir.iterdir() if settings.users_dir.exists() else ():
        owner = folder.lstat()
        _give(settings, folder, owner.st_uid, owner.st_gid)


def _give(settings: Settings, folder: Path, uid: int, gid: int) -> None:
    for name in _ACCESS_FILES:
        tls.write_private(folder / name, (settings.controller_dir / name).read_bytes())
        os.chown(folder / name, uid, gid, follow_symlinks=False)


def sudo_user() -> tuple[int, int]:
    """User and group id of the user behind sudo; zeros when root did not come by sudo."""
    return int(os.environ.get("SUDO_UID") or 0), int(os.environ.get("SUDO_GID") or 0)
