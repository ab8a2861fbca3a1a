"""`stead support-bundle`: what somebody who is to find a fault would ask for, in one file, without any secret."""

import io
import json
import os
import re
import sqlite3
import subprocess
import tarfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

import click

from stead_cli import cloud, doctor, host, release, settings
from stead_cli.errors import CliError
from stead_cli.operator import Operator
from stead_cli.output import say
from stead_cli.settings import CHECKOUT, Settings
from stead_cli.steps import Steps
from stead_proto.v1 import operator_pb2 as pb

_LOG_BYTES: Final = 4 << 20
_SECONDS: Final = 60.0
_COMMANDS: Final = {
    "machine.txt": ("uname", "-a"),
    "debian.txt": ("cat", "/etc/os-release", "/etc/debian_version"),
    "processors.txt": ("lscpu",),
    "memory.txt": ("free", "--mebi"),
    "disks.txt": ("df", "--human-readable"),
    "packages.txt": (
        "dpkg-query",
        "--show",
        "qemu-system-x86",
        "libvirt-daemon",
        "nftables",
        "dnsmasq-base",
        "python3",
    ),
    "links.txt": ("ip", "-details", "-statistics", "address"),
    "routes.txt": ("ip", "route", "show", "table", "all"),
    "rules.txt": ("nft", "list", "ruleset"),
    "kernel.txt": ("dmesg", "--ctime"),
}
# What no log and no answer of ours has; it is looked for all the same, since the file is to be given away.
_SECRETS: Final = (
    re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL),
    re.compile(rb"(?i)(?<=secret[_-]access[_-]key)(\W{1,5})[A-Za-z0-9/+]{40}"),
)
_HIDDEN: Final = b"(hidden)"


@click.command("support-bundle")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def support_bundle(file: Path) -> None:
    """Write FILE.tar.gz for who is to find a fault: versions, settings, checks, hosts, logs, links, rules.

    It names ids, addresses and resources. No key, password, user data or content of a disk is in it.
    """
    cloud.require_root("a support bundle")
    chosen = settings.load()
    cloud.refuse_rig(chosen)
    if not chosen.state_dir.exists():
        raise CliError(f"there is no cloud in {chosen.state_dir}", "start one: ./stead up")
    target = file if file.name.endswith((".tar.gz", ".tgz")) else file.with_name(f"{file.name}.tar.gz")
    write(chosen, target, Steps())
    say(f"{target}: look at what is in it before you give it away: tar tzf {target}")


def write(chosen: Settings, target: Path, steps: Steps) -> None:
    """Write the bundle; what cannot be had says why in its place. Raises CliError for a file that is there."""
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise CliError(f"{target} is there already", "name another file") from None
    with os.fdopen(descriptor, "wb") as opened, tarfile.open(fileobj=opened, mode="w:gz") as tar:
        for name, read in _pieces(chosen).items():
            with steps.step(name) as step:
                try:
                    content = read()
                except (CliError, OSError, sqlite3.Error, subprocess.SubprocessError) as error:
                    content = f"cannot be had: {error}\n".encode()
                    step.note = "cannot be had"
            entry = tarfile.TarInfo(f"stead-support/{name}")
            entry.size, entry.mode, entry.mtime = len(redacted(content)), 0o600, int(time.time())
            tar.addfile(entry, io.BytesIO(redacted(content)))


def redacted(content: bytes) -> bytes:
    """Hide private keys and secret access keys, wherever they come from."""
    for secret in _SECRETS:
        content = secret.sub(lambda found: b"".join(found.groups()) + _HIDDEN, content)
    return content


def _pieces(chosen: Settings) -> dict[str, Callable[[], bytes]]:
    """What is in the bundle, by its name, and how each is had."""
    logs = sorted(chosen.log_dir.glob("*.log*")) + [each.log_file for each in cloud.started_by_controller(chosen)]
    return {
        "release.json": lambda: _json(
            {
                "release": release.current(),
                "version": release.installed_version() or _run(str(CHECKOUT / "stead"), "version"),
            }
        ),
        "settings.json": lambda: _json({name: str(value) for name, value in _settings(chosen).items()}),
        "health.json": lambda: _json(cloud.controller_health(chosen).detail),
        "checks.json": lambda: _json(doctor.agent_checks(chosen)),
        "hosts.json": lambda: _json([host.row_of(found) for found in _hosts(chosen)]),
        "rows.json": lambda: _json(row_counts(chosen)),
        **{f"log/{path.name}": _end_of(path) for path in logs if path.exists()},
        **{name: _command(command) for name, command in _COMMANDS.items()},
    }


def _settings(chosen: Settings) -> dict[str, object]:
    return {name: getattr(chosen, name) for name in chosen.__slots__}


def _hosts(chosen: Settings) -> list[pb.Host]:
    operator = Operator(chosen)
    return [operator.show_host(found.id) for found in operator.list_hosts()]


def row_counts(chosen: Settings) -> dict[str, object]:
    """The schema's revision, and how many rows each table has; raises CliError, sqlite3.Error."""
    return _rows_on_server(chosen.server_url) if chosen.server_url else _rows_in_file(chosen.database_file)


def _rows_on_server(url: str) -> dict[str, object]:
    """Count at one moment, by a transaction that cannot write, and that does not wait for ever."""
    import psycopg  # noqa: PLC0415 - an extra, which most clouds do not have
    from psycopg import sql  # noqa: PLC0415 - as above

    options = f"-c default_transaction_read_only=on -c statement_timeout={int(_SECONDS)}s"
    address = url.replace("+psycopg", "", 1)
    try:
        with psycopg.connect(address, connect_timeout=int(_SECONDS), options=options) as opened:
            opened.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            names = opened.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1")
            counts = {}
            for (name,) in names.fetchall():
                counted = opened.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(name))).fetchone()
                counts[name] = counted[0] if counted else 0
            found = opened.execute("SELECT version_num FROM alembic_version").fetchone()
    except psycopg.Error as error:
        raise CliError(f"the database's rows cannot be counted: {str(error).strip()}") from error
    return {"revision": found[0] if found else "", "rows": counts}


def _rows_in_file(database: Path) -> dict[str, object]:
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=_SECONDS)) as opened:
        names = opened.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").fetchall()
        counts = {name: opened.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for (name,) in names}
        (revision,) = opened.execute("SELECT version_num FROM alembic_version").fetchone()
    return {"revision": revision, "rows": counts}


def _end_of(path: Path) -> Callable[[], bytes]:
    def read() -> bytes:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _LOG_BYTES))
            return file.read(_LOG_BYTES)

    return read


def _command(command: tuple[str, ...]) -> Callable[[], bytes]:
    return lambda: _run(*command).encode()


def _run(*command: str) -> str:
    """What a program says; raises OSError, SubprocessError."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_SECONDS,
        check=False,
    )
    return done.stdout.decode(errors="replace")


def _json(value: object) -> bytes:
    return f"{json.dumps(value, indent=1, default=str)}\n".encode()
