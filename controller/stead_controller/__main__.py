"""`stead-controller init` makes a cloud's state, `stead-controller run` serves it.

`run` is three processes: a parent that has loaded everything, its stand-by, and the one that serves (`supervisor.py`).
"""

import asyncio
import contextlib
import gc
import ipaddress
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from stead_controller import allocator, clock, logs, main_process, succession, supervisor
from stead_controller.backup.command_line import backup
from stead_controller.secrets import core_dumps
from stead_controller.settings import Settings
from stead_proto import alone, resident, traces

if TYPE_CHECKING:
    from stead_controller.controller import Controller
    from stead_controller.db.schema import Run
    from stead_controller.db.session import Database
    from stead_proto.bounded_log import BoundedHandler

_LOCK_SECONDS: Final = 15.0
_ENDS_SECONDS: Final = 600.0  # another release may have to be fetched and installed before it ends this one
# Settings that say how to reach what another one names.
_OF_OTHERS: Final = {
    "block_endpoint": "block_bucket",
    "block_key_file": "block_bucket",
    "block_ca_file": "block_bucket",
    "object_key_file": "object_endpoint",
    "object_ca_file": "object_endpoint",
    "metrics_token_file": "metrics_endpoint",
    "metrics_ca_file": "metrics_endpoint",
    "remote_write_token_file": "remote_write_url",
    "traces_ca_file": "traces_endpoint",
    "traces_headers_file": "traces_endpoint",
}


def _pools(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        try:
            network = ipaddress.IPv4Network(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from error
        if not 16 <= network.prefixlen <= 29:
            raise click.BadParameter(f"{value}: a pool is a /16 to a /29")
    return values


def _ipv6_pool(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    try:
        network = ipaddress.IPv6Network(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    if not 16 <= network.prefixlen <= 56:
        raise click.BadParameter(f"{value}: the pool is a /16 to a /56")
    return value


def _networks(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        try:
            ipaddress.ip_network(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from error
    return values


_OPTIONS = (
    click.option("--state-dir", type=click.Path(path_type=Path), required=True, help="Where all state is kept."),
    click.option("--database-url", default="", help="SQLAlchemy URL; default: SQLite in the state directory."),
    click.option("--listen", default="127.0.0.1", help="Address to listen on.", show_default=True),
    click.option(
        "--host-address", default="", help="Of several controllers: where hosts reach this one; default: --listen."
    ),
    click.option("--guest-listen", default="", help="Further address of the AWS APIs, for this machine's guests."),
    click.option("--http-port", default=8773, help="AWS APIs over HTTP.", show_default=True),
    click.option("--https-port", default=8774, help="AWS APIs over HTTPS.", show_default=True),
    click.option("--host-port", default=8775, help="gRPC for hosts and operators.", show_default=True),
    click.option("--enrolment-port", default=8776, help="gRPC for enrolment and compute.", show_default=True),
    click.option("--endpoint-port", default=8777, help="For what hosts bring of VPC endpoints.", show_default=True),
    click.option("--serial-console-port", default=0, help="SSH to serial consoles; 0: none.", show_default=True),
    click.option("--region", default="us-east-1", help="The cloud's region name.", show_default=True),
    click.option("--any-region", is_flag=True, help="Take requests that are signed for other regions, too."),
    click.option("--zone", "zones", multiple=True, default=("us-east-1a",), help="Zone names.", show_default=True),
    click.option(
        "--public-pool",
        "public_pools",
        multiple=True,
        default=("198.18.0.0/16",),
        callback=_pools,
        help="CIDR blocks of public addresses.",
        show_default=True,
    ),
    click.option(
        "--ipv6-pool",
        default="fd73:7465::/32",
        callback=_ipv6_pool,
        help="IPv6 block of which VPCs get a /56 each.",
        show_default=True,
    ),
    click.option("--cpu-overcommit", default=4.0, help="vCPUs offered per hardware thread.", show_default=True),
    click.option(
        "--memory-kept", default=1 << 30, help="Bytes of each host for itself; at most a quarter.", show_default=True
    ),
    click.option(
        "--volume-overcommit", default=4.0, help="Bytes of volumes promised per byte of a pool.", show_default=True
    ),
    click.option(
        "--placement",
        type=click.Choice(["spread", "pack"]),
        default="spread",
        help="Whether instances go to the emptiest host that fits, or to the fullest.",
        show_default=True,
    ),
    click.option("--heartbeat-seconds", default=5, show_default=True),
    click.option("--host-timeout-seconds", default=20, show_default=True),
    click.option("--address-rest-seconds", default=60, show_default=True),
    click.option("--elastic-addresses-per-account", default=5, help="EC2's default is 5.", show_default=True),
    click.option("--terminated-kept-seconds", default=3600, show_default=True),
    click.option("--launch-deadline-seconds", default=300, show_default=True),
    click.option("--snapshot-deadline-seconds", default=1800, show_default=True),
    click.option("--block-grace-seconds", default=3600, help="How long unused blocks are kept.", show_default=True),
    click.option(
        "--scrub-days",
        type=click.IntRange(min=0),
        default=30,
        help="How often all blocks are checked; 0 is never.",
        show_default=True,
    ),
    click.option(
        "--master-key-command",
        default="",
        help="Command that prints the master key's versions; default: the file master.key in the state directory.",
    ),
    click.option(
        "--request-rate-factor",
        type=click.FloatRange(min=0),
        default=100.0,
        help="How often an account may call, as a multiple of EC2's limits; 0 is no limit.",
        show_default=True,
    ),
    click.option(
        "--audit-days",
        type=click.IntRange(min=1),
        default=90,
        help="How long records of calls are kept.",
        show_default=True,
    ),
    click.option("--audit-bytes", default=4 << 30, help="Bytes of files with records of calls.", show_default=True),
    click.option("--audit-events", default=1_000_000, help="Records that LookupEvents may show.", show_default=True),
    click.option("--block-bucket", default="", help="S3 bucket for blocks; default: the state directory."),
    click.option("--block-endpoint", default="", help="URL of the bucket's endpoint; default: Amazon's."),
    click.option("--block-region", default="us-east-1", help="The bucket's region.", show_default=True),
    click.option(
        "--block-key-file",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="File of mode 0600 with two lines: id and secret of the bucket's access key.",
    ),
    click.option(
        "--block-ca-file",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="PEM of the authority of that endpoint's certificate; default: those that browsers trust.",
    ),
    click.option(
        "--object-endpoint",
        default="",
        help="URL of an S3 server for objects, which several controllers need; default: one started here.",
    ),
    click.option("--object-region", default="us-east-1", help="The region of that server.", show_default=True),
    click.option(
        "--object-key-file",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="File of mode 0600 with two lines: id and secret of that server's access key.",
    ),
    click.option(
        "--object-ca-file",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="PEM of the authority of that server's certificate; default: those that browsers trust.",
    ),
    click.option(
        "--object-domain", default="localhost", help="What may stand after a bucket in a host name.", show_default=True
    ),
    click.option(
        "--metrics-endpoint",
        default="",
        help="URL of a Prometheus-compatible server for metrics, below which is /api/v1; default: one started here.",
    ),
    click.option(
        "--metrics-token-file",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="File with the bearer token, or USER:PASSWORD, that this server wants.",
    ),
    click.option(
        "--metrics-ca-file",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="PEM of the authority of that server's certificate; default: those that browsers trust.",
    ),
    click.option(
        "--remote-write-url",
        default="",
        help="URL to which all samples of metrics are also sent, by Prometheus's remote-write protocol.",
    ),
    click.option(
        "--remote-write-token-file",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="File with the bearer token, or USER:PASSWORD, that this URL wants.",
    ),
    click.option(
        "--prometheus-listen", default="127.0.0.1", help="Address of the page for Prometheus.", show_default=True
    ),
    click.option("--prometheus-port", default=0, help="Its port; 0: there is none.", show_default=True),
    click.option(
        "--traces-endpoint",
        default="",
        help="URL of a server for traces of calls, by OTLP over HTTP at /v1/traces below it; default: no traces.",
    ),
    click.option(
        "--traces-share",
        type=click.FloatRange(0, 1),
        default=1.0,
        help="The share of calls that are traced, of those whose callers have not decided that.",
        show_default=True,
    ),
    click.option(
        "--traces-ca-file",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="PEM of the authority of that server's certificate; default: those that browsers trust.",
    ),
    click.option(
        "--traces-headers-file",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="File of mode 0600 with headers that this server wants, NAME: VALUE on each line.",
    ),
    click.option(
        "--webhook-network",
        "webhook_networks",
        multiple=True,
        callback=_networks,
        help="CIDR block to which notifications may go, also by HTTP, beside public addresses.",
    ),
    click.option(
        "--webhook-ca-file",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="PEM file of authorities that receivers of notifications may have, beside the system's.",
    ),
    click.option("--api-url", default="", help="URL of the AWS APIs for receivers; default: the HTTPS port."),
    click.option("--log-level", default="info", show_default=True),
    click.option(
        "--pid-file",
        type=click.Path(path_type=Path),
        help="File of who starts it, for who takes the place of a main process that is killed; not with systemd.",
    ),
    click.option(
        "--log-file",
        type=click.Path(path_type=Path),
        help="What standard error is appended to: put aside, as FILE.1 to FILE.3, whenever it has 16 MiB.",
    ),
)


def _with_settings(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def _settings(options: dict[str, Any]) -> Settings:
    """Make the settings of the options; raises click.UsageError for one that would have no effect."""
    for name, other in _OF_OTHERS.items():
        if options[name] and not options[other]:
            flag, needed = (f"--{word.replace('_', '-')}" for word in (name, other))
            raise click.UsageError(f"{flag} has no effect without {needed}: set both, or neither")
    if options["host_address"] and not options["database_url"].startswith("postgresql"):
        raise click.UsageError(
            "--host-address is for several controllers, which need a server: --database-url=postgresql+psycopg://…"
        )
    names = {field.name for field in fields(Settings)}
    return Settings(**{name: value for name, value in options.items() if name in names})


@contextlib.contextmanager
def _loading() -> Iterator[None]:
    """Load modules with garbage collection off: it takes a sixth of the time, and modules are never freed."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def load() -> None:
    """Load all modules that serve."""
    with _loading():
        from sqlalchemy.orm import configure_mappers  # noqa: PLC0415 - see _loading

        from stead_controller import controller, initialise  # noqa: F401, PLC0415 - see _loading
        from stead_controller.aws import operations  # noqa: PLC0415 - see _loading
        from stead_controller.db import schema  # noqa: PLC0415 - see _loading

        operations.load()
        configure_mappers()
        schema.newest()  # of these files, whichever are there when another server is forked


def load_all() -> None:
    """Load what changes a database, too, for who wants all compiled: systemd lets `run` read modules alone."""
    load()
    from stead_controller.db import migrate  # noqa: PLC0415 - see _loading

    migrate.load()


@click.group()
def cli() -> None:
    """Run Stead's controller."""


@cli.command(context_settings={"auto_envvar_prefix": "STEAD"})
@_with_settings
def init(**options: Any) -> None:
    """Make what is missing of a cloud's state; doing it again changes nothing."""
    with _loading():
        from stead_controller import initialise  # noqa: F401, PLC0415 - see _loading
    logs.set_up(options["log_level"], options["log_file"])
    _initialise(_settings(options))


@cli.command(context_settings={"auto_envvar_prefix": "STEAD"})
@_with_settings
def run(**options: Any) -> None:
    """Serve until SIGTERM; a process that is killed is replaced, unless all are at once.

    With STEAD_SUCCEEDS in the environment it takes the place of one that serves, once it has loaded all.
    """
    core_dumps.forbid()
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # or its library prints a line for each failed handshake
    handler = logs.set_up(options["log_level"], options["log_file"])
    allocator.use_one_heap()
    settings = _settings(options)
    settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock, server = settings.state_dir / alone.FILE_NAME, None
    try:
        if succession.is_wanted():
            _load_to_serve(handler)
            held, server = _succeed(settings, handler)
        else:
            held = alone.take(lock)
            _load_to_serve(handler)
    except alone.TakenError as error:
        raise click.ClickException(f"another controller: {error}") from error
    except succession.FailedError as error:
        raise click.ClickException(f"{error}; the former controller goes on") from error
    hooks = supervisor.Hooks(
        handler.reopen,
        partial(alone.stand_by, held),
        partial(_take_over, held, lock, options["pid_file"]),
        main_process.followed_by,
        lambda: alone.holder(settings.state_dir / alone.SUCCESSOR_FILE_NAME) is not None,
    )
    supervisor.fork_until_ended(hooks, server)
    succession.await_changes(settings.state_dir)
    _serve_until_ended(settings, lambda: None)


def _load_to_serve(handler: "BoundedHandler") -> None:
    load()
    from stead_controller.db.outages import OutageRecords  # noqa: PLC0415 - see load

    handler.addFilter(OutageRecords())
    resident.give_back()  # what loading alone needed: parent and stand-by use nothing of it


def _succeed(settings: Settings, handler: "BoundedHandler") -> tuple[int, int | None]:
    """Take the place of the controller that runs; return what holds it, and a server that has proven itself, if any."""
    from stead_controller.db import changes  # noqa: PLC0415 - see load

    lock = settings.state_dir / alone.FILE_NAME
    if settings.has_server:
        supervisor.apart(partial(changes.prepare_copy, settings))
    with succession.beside_the_former() as be_the_main_process, succession.standing_aside(settings.state_dir):
        server = _proven(settings, handler) if alone.stands_aside(lock) else None
        be_the_main_process()
        held = succession.take(lock)
    handler.reopen()  # the former one may have put the file aside
    return held, server


def _proven(settings: Settings, handler: "BoundedHandler") -> int:
    """Serve in a child while the former controller stands aside; where that fails, its database is as it was."""
    from stead_controller.db import changes  # noqa: PLC0415 - see load

    prepared = succession.Prepared(partial(changes.at_hand, settings))

    def serve(say: Callable[[], None]) -> None:
        succession.end_server(settings.state_dir)
        succession.await_changes(settings.state_dir)
        handler.reopen()
        _serve_until_ended(settings, say, lambda: prepared.do(changes.THERE))

    try:
        server = succession.proven(serve)
    except succession.FailedError as error:
        is_back = not prepared.is_prepared or prepared.do(changes.BACK)
        prepared.end()
        if not is_back:
            raise succession.FailedError(f"{error}, and the database cannot be brought back") from error
        raise
    prepared.end()
    return server


def _serve_until_ended(
    settings: Settings, say: Callable[[], None], before: Callable[[], object] = lambda: None
) -> None:
    """Serve, and `say` so once all ports are open; `before` is called when nobody else serves any more."""
    from stead_controller.controller import Controller  # noqa: PLC0415 - see load

    main_process.forget()
    _lock_serving(settings.state_dir / alone.SERVING_FILE_NAME)
    _lock_file(settings.database_url)
    before()
    _initialise(settings, supervisor.apart)
    _start_traces(settings)
    asyncio.run(_serve(Controller, settings, say))
    traces.stop()


def _initialise(settings: Settings, run_apart: "Run | None" = None) -> None:
    from stead_controller.db.schema import UnchangedError, here  # noqa: PLC0415 - see load
    from stead_controller.initialise import initialise  # noqa: PLC0415 - see load

    try:
        initialise(settings, clock.now(), run_apart or here)
    except UnchangedError as error:
        raise click.ClickException(error.message) from error


def _start_traces(settings: Settings) -> None:
    if not settings.traces_endpoint:
        return
    try:
        traces.start(settings.traces, "stead-controller", socket.gethostname())
    except traces.TracesError as error:
        raise click.ClickException(str(error)) from error


def _take_over(held: int, lock: Path, pid_file: Path | None) -> None:
    """Become what the parent was, which has died."""
    try:
        alone.take_over(held, lock)
    except alone.TakenError as error:
        raise click.ClickException(f"it is not started anew: {error}") from error
    main_process.is_this(pid_file)


def _lock_serving(path: Path, seconds: float = _LOCK_SECONDS) -> int:
    """Lock what the serving process holds, and return what does; wait for one that dies with its killed parent."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return alone.take(path)
        except alone.TakenError as error:
            if time.monotonic() > deadline:
                raise click.ClickException(f"another controller serves: {error}") from error
            time.sleep(0.01)


def _lock_file(database_url: str) -> None:
    """Lock a database that is a file elsewhere than in the state directory, which is locked already."""
    if not database_url.startswith("sqlite:///"):
        return
    file = Path(database_url.removeprefix("sqlite:///"))
    try:
        alone.take(file.with_name(f"{file.name}.{alone.SERVING_FILE_NAME}"))
    except alone.TakenError as error:
        raise click.ClickException(f"a file is of one controller, several need PostgreSQL: {error}") from error


@cli.group()
def database() -> None:
    """Look after the database while no controller runs."""


@database.command()
def newest() -> None:
    """Print the revision of the database that this release makes."""
    from stead_controller.db import schema  # noqa: PLC0415 - see _loading

    click.echo(schema.newest())


def _of_a_database[F: Callable[..., None]](command: F) -> F:
    """Give a command the options that name a database."""
    state = click.Path(path_type=Path, exists=True)
    command = click.option("--state-dir", type=state, required=True, help="Where all state is kept.")(command)
    url = "SQLAlchemy URL; default: SQLite in the state directory."
    return click.option("--database-url", default="", help=url)(command)


@database.command(context_settings={"auto_envvar_prefix": "STEAD"})
@_of_a_database
def revision(state_dir: Path, database_url: str) -> None:
    """Print the revision that a database has, also while a controller runs; nothing where there is none yet."""
    from stead_controller.db import schema  # noqa: PLC0415 - see _loading
    from stead_controller.db.session import Database  # noqa: PLC0415 - see _loading

    opened = Database(Settings(state_dir=state_dir, database_url=database_url).database)
    try:
        click.echo(schema.revision_of(opened.engine) or "")
    finally:
        opened.close()


@database.command(context_settings={"auto_envvar_prefix": "STEAD"})
@_of_a_database
@click.option(
    "--when-free", is_flag=True, help="Say when all is loaded, wait until no controller serves, and let none."
)
@click.argument("revision", default="")
def downgrade(state_dir: Path, database_url: str, revision: str, *, when_free: bool) -> None:
    """Go back to the database of an earlier release, by default the one before the last upgrade.

    Run it by the newer release, then start the earlier one. What that has no place for is lost; a copy stays.
    """
    from stead_controller.db.downgrade import DowngradeError, downgrade_to  # noqa: PLC0415 - see _loading
    from stead_controller.db.session import Database  # noqa: PLC0415 - see _loading

    opened = Database(Settings(state_dir=state_dir, database_url=database_url).database)
    try:
        with _once_free(opened, state_dir, revision) if when_free else contextlib.nullcontext():
            went = downgrade_to(opened.engine, revision, copies=state_dir)
        click.echo(f"The database has the revision {went}.")
    except DowngradeError as error:
        raise click.ClickException(str(error)) from error
    finally:
        opened.close()


@contextlib.contextmanager
def _once_free(opened: "Database", state_dir: Path, revision: str) -> Iterator[None]:
    """Have the way back at hand, say so by a line, and go on as soon as no controller serves, holding its place."""
    from stead_controller.db import schema  # noqa: PLC0415 - see _loading
    from stead_controller.db.downgrade import at_hand  # noqa: PLC0415 - see _loading

    supervisor.signal_at_death_of(os.getppid(), signal.SIGTERM)  # who waits for it
    with at_hand(revision) if revision else contextlib.nullcontext():
        schema.prepare(opened.engine, state_dir, goes_back=True)
        changing = alone.take(state_dir / alone.CHANGING_FILE_NAME)
        click.echo("All is loaded.")  # from here on files of this release may go
        sys.stdout.flush()
        serving = _lock_serving(state_dir / alone.SERVING_FILE_NAME, _ENDS_SECONDS)
        yield
        opened.close()
        os.close(serving)
        os.close(changing)  # whoever serves next does not await the end of this process


cli.add_command(backup)


async def _serve(make: "type[Controller]", settings: Settings, say: Callable[[], None]) -> None:
    from stead_controller.db.membership import ForeignStateError  # noqa: PLC0415 - see _loading
    from stead_controller.sharing import HOW  # noqa: PLC0415 - see _loading

    controller = make(settings)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    try:
        await controller.start()
    except ForeignStateError as error:
        raise click.ClickException(f"{error}: {HOW[error.what]}") from error
    say()
    await ended.wait()
    await controller.stop()


def main() -> None:
    """Enter at the command line; each option can also be said by STEAD_… in the environment."""
    cli()


if __name__ == "__main__":
    main()
