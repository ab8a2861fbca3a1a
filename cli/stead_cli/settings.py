"""Where this machine's cloud stores its state and at which ports it listens.

`STEAD_…` environment variables win; next come the settings of the last `stead up`, stored in the state directory so
that `stead env` in another shell finds the same cloud; then the defaults.
"""

import hashlib
import ipaddress
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from stead_cli.errors import CliError
from stead_proto.limits import EXPORT_PORTS

DEFAULT_STATE_DIR: Final = Path("/var/lib/stead")
CHECKOUT: Final = Path(__file__).resolve().parents[2]
SHIPPED: Final = Path(__file__).resolve().with_name("shipped")
"""What `stead release` puts into this package: `images/`, which is elsewhere in a checkout, and version and commit."""
FILE: Final = "sqlite"
"""What `database_url` says of a database that is a file of Stead's own."""
NO_SERVER: Final = "none"
"""What `object_endpoint` and `metrics_endpoint` say where the controller starts a server of its own."""
NO_BUCKET: Final = "none"
"""What `block_bucket` says where blocks are in a folder of the controller, as they are without it."""
NO_TRACES: Final = "none"
"""What `traces_endpoint` says where there are no traces, as there are none without it."""

FILES: Final = SHIPPED if SHIPPED.is_dir() else CHECKOUT
"""The folder that has `images/`."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the single-machine cloud; all paths derive from the state directory."""

    state_dir: Path = DEFAULT_STATE_DIR
    http_port: int = 8773
    https_port: int = 8774
    host_port: int = 8775
    enrolment_port: int = 8776
    endpoint_port: int = 8777
    serial_console_port: int = 8778
    region: str = "us-east-1"
    zones: str = "a"  # the letters of its zones; a host is in the first, unless its token names another
    uplink: str = "auto"
    public_pool: str = "198.18.0.0/16"
    netns_dir: str = "/run/netns"  # of the VPCs' network namespaces; each cloud of a machine needs its own
    listen: str = "127.0.0.1"  # the controller's address
    host_address: str = ""  # of several controllers: where hosts reach this one; empty: `listen`
    controller_address: str = ""  # of the controller, if that is another machine, which this one is a host of
    underlay_address: str = ""  # where other hosts reach this one; empty: the address of the default route
    guest_address: str = ""  # a further address for guests, if it is not a host's own; empty: see `guest_listen`
    devices: str = ""  # PCI devices that guests may have, as `stead-agent run --device` takes them, by spaces
    whole_cores: str = (
        ""  # threads of the cores that guests may have alone, as `stead-agent run --whole-cores` takes them
    )
    prometheus_port: int = 0  # of the page of the controller's metrics of itself; 0: there is none
    agent_prometheus_port: int = 0  # the same of the agent
    prometheus_listen: str = "127.0.0.1"  # the address of both pages
    pools: str = ""  # further storage pools, as `stead-agent run --pool` takes them, separated by spaces
    database_url: str = ""  # of a PostgreSQL server; empty, or sqlite: a file in the controller's state
    block_bucket: str = (
        ""  # of snapshots and images, on an S3 server; empty, or none: a folder in the controller's state
    )
    block_endpoint: str = ""  # the URL of that server; empty: Amazon's
    block_region: str = "us-east-1"  # of that bucket
    block_key_file: str = ""  # with id and secret of the bucket's access key
    block_ca_file: str = ""  # of the authority of that server's certificate; empty: one that browsers trust
    object_endpoint: str = (
        ""  # the URL of an S3 server for accounts' buckets; empty, or none: the controller starts one
    )
    object_region: str = "us-east-1"  # of that server
    object_key_file: str = ""  # with id and secret of its access key
    object_ca_file: str = ""  # of the authority of its certificate; empty: one that browsers trust
    metrics_endpoint: str = ""  # the URL of a server for metrics; empty, or none: the controller starts one
    metrics_token_file: str = ""  # with the bearer token that it wants
    metrics_ca_file: str = ""  # of the authority of its certificate; empty: one that browsers trust
    traces_endpoint: str = ""  # URL of a server for traces of calls; empty, or none: there are no traces
    traces_share: str = ""  # of the calls that are traced, from 0 to 1; empty: all
    traces_ca_file: str = ""  # of the authority of that server's certificate
    traces_headers_file: str = ""  # with headers that it wants, such as a token

    @property
    def zone_names(self) -> list[str]:
        """The names of the zones, such as `us-east-1a`."""
        return [f"{self.region}{letter}" for letter in self.zones]

    @property
    def controller_dir(self) -> Path:
        """State of the controller."""
        return self.state_dir / "controller"

    @property
    def server_url(self) -> str:
        """The URL of the database's server; empty where the database is a file."""
        return self.database_url if self.database_url != FILE else ""

    @property
    def bucket(self) -> str:
        """The bucket for blocks; empty where they are in a folder of the controller."""
        return self.block_bucket if self.block_bucket != NO_BUCKET else ""

    @property
    def object_server(self) -> str:
        """The URL of the S3 server for buckets; empty where the controller starts one."""
        return self.object_endpoint if self.object_endpoint != NO_SERVER else ""

    @property
    def metrics_server(self) -> str:
        """The URL of the server for metrics; empty where the controller starts one."""
        return self.metrics_endpoint if self.metrics_endpoint != NO_SERVER else ""

    @property
    def traces_server(self) -> str:
        """The URL of the server for traces; empty where there are none."""
        return self.traces_endpoint if self.traces_endpoint != NO_TRACES else ""

    @property
    def database_file(self) -> Path:
        """The database, where it is a file."""
        return self.controller_dir / "stead.sqlite"

    @property
    def agent_dir(self) -> Path:
        """State of the agent, with the disks of guests."""
        return self.state_dir / "agent"

    @property
    def image_dir(self) -> Path:
        """Images built here."""
        return self.state_dir / "images"

    @property
    def log_dir(self) -> Path:
        """Logs of both."""
        return self.state_dir / "log"

    @property
    def run_dir(self) -> Path:
        """Pid files and locks."""
        return self.state_dir / "run"

    @property
    def volatile_dir(self) -> Path:
        """The agent's sockets and process ids, gone after a reboot; a folder of its own for each state directory."""
        return Path(f"/run/stead{self._suffix}")

    def unit(self, program: str) -> str:
        """Name the systemd unit of a program."""
        return f"stead{self._suffix}-{program}.service"

    @property
    def _suffix(self) -> str:
        """A suffix that distinguishes the units and folders of a cloud whose state directory is not the default."""
        if self.state_dir == DEFAULT_STATE_DIR:
            return ""
        return f"-{hashlib.sha256(str(self.state_dir).encode()).hexdigest()[:8]}"

    @property
    def demo_dir(self) -> Path:
        """The key of the demo instance."""
        return self.state_dir / "demo"

    @property
    def ca_file(self) -> Path:
        """The CA's certificate, for every client of the AWS APIs."""
        return self.state_dir / "ca.pem"

    @property
    def identity_file(self) -> Path:
        """The certificate with which users verify instance identity documents."""
        return self.state_dir / "instance-identity.pem"

    @property
    def https_endpoint(self) -> str:
        """URL of the AWS APIs."""
        return f"https://{self.listen}:{self.https_port}"

    @property
    def guest_listen(self) -> str:
        """The address besides `listen` where guests reach the AWS APIs: this host's own, the first of the pool."""
        if self.guest_address or self.listen == "0.0.0.0":
            return self.guest_address
        return str(ipaddress.IPv4Network(self.public_pool)[1])

    @property
    def guest_ports(self) -> tuple[int, ...]:
        """The controller's ports on this host that guests may reach."""
        return () if self.guest_address or self.controller_address else (self.http_port, self.https_port)

    @property
    def guests_may_reach_listen(self) -> bool:
        """Tell whether guests of this host may reach those ports at `listen` too, as guests of other hosts can."""
        try:
            address = ipaddress.IPv4Address(self.listen)
        except ValueError:  # a host name, which guests resolve themselves
            return False
        return bool(self.guest_ports) and not (address.is_loopback or address.is_unspecified)

    @property
    def access_dir(self) -> Path:
        """The folder where the caller finds the CA, the operator's certificate and the first access key.

        Root reads the controller's own; a user who ran `stead up` by sudo has a copy.
        """
        return self.controller_dir if os.geteuid() == 0 else self.users_dir / str(os.geteuid())

    @property
    def users_dir(self) -> Path:
        """Copies of the credentials for users who came by sudo, one folder per user id."""
        return self.state_dir / "users"

    @property
    def memory_file(self) -> Path:
        """The file with the settings of the last `stead up`."""
        return self.state_dir / "settings.json"

    def remember(self) -> None:
        """Store the settings, so that later commands need no environment variables."""
        remembered = {name: getattr(self, name) for name in _REMEMBERED}
        replace_text(self.memory_file, json.dumps(remembered, indent=2) + "\n")


def replace_text(path: Path, text: str) -> None:
    """Replace a file atomically: if there is no room for the new content, the old one stays. Raises OSError."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


_SCHEME: Final = "postgresql+psycopg"
_BLOCK_FILES: Final = ("block_key_file", "block_ca_file")
_OBJECT_FILES: Final = ("object_key_file", "object_ca_file")
_SERVER: Final = "https://HOST:PORT, without any key in it"
_METRICS_FILES: Final = ("metrics_token_file", "metrics_ca_file")
_TRACES_FILES: Final = ("traces_ca_file", "traces_headers_file")
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_LETTERS: Final = re.compile(r"[a-z]+")
_MAY_BE_OFF: Final = frozenset({"prometheus_port", "agent_prometheus_port"})
_REMEMBERED: Final = tuple(field.name for field in fields(Settings) if field.name != "state_dir")


def load(environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings from the environment, the last `stead up` and the defaults."""
    settings = Settings(state_dir=Path(environment.get("STEAD_STATE_DIR") or DEFAULT_STATE_DIR).absolute())
    remembered = _read_memory(settings.memory_file)
    given = {
        name: environment[f"STEAD_{name.upper()}"] for name in _REMEMBERED if environment.get(f"STEAD_{name.upper()}")
    }
    chosen: dict[str, Any] = {**remembered, **given}
    checked: dict[str, Any] = {
        name: _port(name, value) if name.endswith("_port") else value for name, value in chosen.items()
    }
    loaded = replace(settings, **checked)
    pages = loaded.prometheus_port or loaded.agent_prometheus_port
    if given.get("prometheus_listen", settings.prometheus_listen) != settings.prometheus_listen and not pages:
        raise CliError(
            "STEAD_PROMETHEUS_LISTEN has no effect without a page",
            "set STEAD_PROMETHEUS_PORT or STEAD_AGENT_PROMETHEUS_PORT, too",
        )
    if not _LETTERS.fullmatch(loaded.zones) or len({*loaded.zones}) < len(loaded.zones):
        raise CliError(f"STEAD_ZONES={loaded.zones} is no list of zones", "the letters of all zones, each once: abc")
    if alone := given.keys() & {"traces_share", *_TRACES_FILES} if not loaded.traces_endpoint else frozenset():
        raise CliError(f"STEAD_{min(alone).upper()} has no effect without traces", "set STEAD_TRACES_ENDPOINT, too")
    if loaded.server_url:
        check_database(loaded.server_url)
    elif given.get("host_address"):
        raise CliError(
            "STEAD_HOST_ADDRESS is for several controllers, which share a database of PostgreSQL",
            "set STEAD_DATABASE_URL, too: docs/operate/several-controllers.md",
        )
    if loaded.bucket:
        _check_bucket(loaded)
    elif alone := given.keys() & {"block_endpoint", "block_region", *_BLOCK_FILES}:
        raise CliError(f"STEAD_{min(alone).upper()} has no effect without a bucket", "set STEAD_BLOCK_BUCKET, too")
    if loaded.object_server:
        _check_object_server(loaded)
    elif alone := given.keys() & {"object_region", *_OBJECT_FILES}:
        raise CliError(f"STEAD_{min(alone).upper()} has no effect without a server", "set STEAD_OBJECT_ENDPOINT, too")
    if loaded.metrics_server:
        if not _is_server(loaded.metrics_server):
            raise CliError("STEAD_METRICS_ENDPOINT is no URL of a server", _SERVER)
    elif alone := given.keys() & {*_METRICS_FILES}:
        raise CliError(f"STEAD_{min(alone).upper()} has no effect without a server", "set STEAD_METRICS_ENDPOINT, too")
    names = (*_BLOCK_FILES, *_OBJECT_FILES, *_METRICS_FILES, *_TRACES_FILES)
    files = {name: value for name in names if (value := getattr(loaded, name))}
    absolute: dict[str, Any] = {name: str(Path(value).absolute()) for name, value in files.items()}
    return replace(loaded, **absolute)


def kept(environment: Mapping[str, str] = os.environ) -> tuple[dict[str, str], list[str]]:
    """Return an environment that changes no setting of a cloud, and the names of what was left out for that."""
    names = {f"STEAD_{name.upper()}" for name in _REMEMBERED}
    left_out = sorted(name for name, value in environment.items() if name in names and value)
    return {name: value for name, value in environment.items() if name not in names}, left_out


def _check_bucket(loaded: Settings) -> None:
    """Raise CliError for what names no bucket, or has a password: whoever lists processes reads arguments."""
    if not _BUCKET.fullmatch(loaded.bucket):
        raise CliError(
            f"STEAD_BLOCK_BUCKET={loaded.bucket} is no name of a bucket",
            f"3 to 63 small letters, digits, dots, hyphens; or: {NO_BUCKET}",
        )
    if not loaded.block_key_file:
        raise CliError(
            "a bucket for blocks needs STEAD_BLOCK_KEY_FILE",
            "a file that only root may read, of two lines: id and secret of the bucket's access key",
        )
    if loaded.block_endpoint and not _is_server(loaded.block_endpoint):
        raise CliError("STEAD_BLOCK_ENDPOINT is no URL of a server", _SERVER)


def _check_object_server(loaded: Settings) -> None:
    """Raise CliError for what names no server, or has a password, or where its key is missing."""
    if not _is_server(loaded.object_server):
        raise CliError("STEAD_OBJECT_ENDPOINT is no URL of a server", _SERVER)
    if not loaded.object_key_file:
        raise CliError(
            "a server for buckets needs STEAD_OBJECT_KEY_FILE",
            "a file that only root may read, of two lines: id and secret of its access key",
        )


def _is_server(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        return False


def check_database(url: str, what: str = "STEAD_DATABASE_URL") -> None:
    """Raise CliError for a URL that is none, or has a password: whoever lists processes reads arguments."""
    try:
        parts = urlsplit(url)
        is_secret = parts.password is not None or "password" in parse_qs(parts.query)
    except ValueError:
        parts, is_secret = urlsplit(""), False
    if parts.scheme != _SCHEME:
        raise CliError(f"{what} names no database of PostgreSQL", f"{_SCHEME}://USER@HOST/DATABASE, or: {FILE}")
    if is_secret:
        raise CliError(
            f"{what} has a password, which others would read in the list of processes",
            f"write it into a file that only root may read: {_SCHEME}://USER@HOST/DATABASE?passfile=/etc/stead-pgpass",
        )


def _read_memory(path: Path) -> dict[str, Any]:
    """What `remember` wrote, without fields unknown to this version; empty when there is no readable file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {name: content[name] for name in _REMEMBERED if name in content}


def _port(name: str, value: str | int) -> int:
    try:
        number = int(value)
    except ValueError:
        number = 0
    if number == 0 and str(value) == "0" and name in _MAY_BE_OFF:
        return number
    if not 0 < number < 1 << 16:
        raise CliError(f"STEAD_{name.upper()}={value} is no port number")
    if number in EXPORT_PORTS:
        raise CliError(
            f"STEAD_{name.upper()}={value} is taken: hosts serve volumes to each other at {EXPORT_PORTS[0]} to "
            f"{EXPORT_PORTS[-1]}, and their firewalls let nobody else in",
            "choose another port",
        )
    return number
