"""The operator's settings: flags, else `STEAD_…` environment variables, else these defaults."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from stead_proto import traces


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one controller.

    `public_pools` are the CIDR blocks of public addresses, of which the first address of the first is the hosts' own.
    With `any_region` the APIs accept requests signed for another region than `region`, which EC2 refuses.
    Of several controllers hosts reach this one at `host_address`, by default at `host_port` of `listen`.
    Requests through VPC endpoints arrive at `endpoint_port`, from hosts, which show their certificates.
    SSH to instances' serial consoles is served at `serial_console_port`; 0 is nowhere.
    With `guest_listen` the AWS APIs listen there as well, for guests of this machine: the address need not exist yet.
    `ipv6_pool` is the IPv6 block, a /56 or larger, of which each VPC that asks for one gets a /56; the default is a
    unique local one (RFC 4193), which is not routed outside, until the operator sets one that is routed here.
    `cpu_overcommit` is how many vCPUs are offered per physical one; `memory_kept` bytes (or a quarter, if that is
    less) of each host are reserved for itself. `volume_overcommit` is how many bytes of volumes, which are thin, are
    offered per byte of a storage pool. With the `placement` spread instances go to the emptiest host that fits, with
    pack to the fullest. Blocks of snapshots that nothing refers to are retained `block_grace_seconds`;
    all blocks are read again and checked every `scrub_days`, 0 is never.
    The master key is in `master.key` of the state directory, or what `master_key_command` prints (`master_key.py`).
    An account may call `request_rate_factor` times as often as EC2 would allow (`aws/throttle.py`); 0 is no limit.
    Records of calls are retained `audit_days` in files below the state directory, of at most `audit_bytes` in total,
    and in the database, of which LookupEvents shows at most `audit_events`.
    With `block_bucket` blocks are stored in that S3 bucket of `block_endpoint` instead of the state directory.
    With `object_endpoint` the objects of accounts' buckets are stored by that S3 server, instead of one that is started
    here when first used. `object_domain` is the domain that may follow a bucket's name in a Host header.
    With `metrics_endpoint` metrics are stored by that Prometheus-compatible server, which is sent the bearer token, or
    USER:PASSWORD, in `metrics_token_file`, instead of a VictoriaMetrics that is started here when first used; its
    certificate is of the authority in `metrics_ca_file`, or of one that browsers trust.
    With `remote_write_url` all samples are also sent there, by Prometheus's remote-write protocol 1.0, with what is in
    `remote_write_token_file`, as above.
    With `prometheus_port` the controller's metrics of itself are served at `prometheus_listen`; 0 is nowhere.
    With `traces_endpoint` a `traces_share` of the calls is traced, by OTLP to that server (`stead_proto/traces.py`).
    Notifications are sent to public addresses and `webhook_networks`, by plain HTTP to the latter only; receivers'
    certificates are checked by the system's authorities and those in `webhook_ca_file`. They reach the AWS APIs at
    `api_url`, by default at `https_port` of `listen`.
    """

    state_dir: Path
    database_url: str = ""
    listen: str = "127.0.0.1"
    host_address: str = ""
    guest_listen: str = ""
    http_port: int = 8773
    https_port: int = 8774
    host_port: int = 8775
    enrolment_port: int = 8776
    endpoint_port: int = 8777
    serial_console_port: int = 0
    region: str = "us-east-1"
    any_region: bool = False
    zones: tuple[str, ...] = ("us-east-1a",)
    public_pools: tuple[str, ...] = ("198.18.0.0/16",)
    ipv6_pool: str = "fd73:7465::/32"
    cpu_overcommit: float = 4.0
    memory_kept: int = 1 << 30
    volume_overcommit: float = 4.0
    placement: str = "spread"
    heartbeat_seconds: int = 5
    host_timeout_seconds: int = 20
    address_rest_seconds: int = 60
    elastic_addresses_per_account: int = 5
    dedicated_hosts_per_account: int = 2
    terminated_kept_seconds: int = 3600
    launch_deadline_seconds: int = 300
    snapshot_deadline_seconds: int = 1800
    block_grace_seconds: int = 3600
    scrub_days: int = 30
    master_key_command: str = ""
    request_rate_factor: float = 100.0
    audit_days: int = 90
    audit_bytes: int = 4 << 30
    audit_events: int = 1_000_000
    block_bucket: str = ""
    block_endpoint: str = ""
    block_region: str = "us-east-1"
    block_key_file: Path | None = None
    block_ca_file: Path | None = None
    object_endpoint: str = ""
    object_region: str = "us-east-1"
    object_key_file: Path | None = None
    object_ca_file: Path | None = None
    object_domain: str = "localhost"
    metrics_endpoint: str = ""
    metrics_token_file: Path | None = None
    metrics_ca_file: Path | None = None
    remote_write_url: str = ""
    remote_write_token_file: Path | None = None
    prometheus_listen: str = "127.0.0.1"
    prometheus_port: int = 0
    traces_endpoint: str = ""
    traces_share: float = 1.0
    traces_ca_file: Path | None = None
    traces_headers_file: Path | None = None
    webhook_networks: tuple[str, ...] = ()
    webhook_ca_file: Path | None = None
    api_url: str = ""

    @property
    def traces(self) -> traces.Settings:
        """Where traces go."""
        return traces.Settings(self.traces_endpoint, self.traces_share, self.traces_ca_file, self.traces_headers_file)

    @property
    def reached_at(self) -> str:
        """Where hosts reach this controller, as HOST:PORT; empty where it listens everywhere and nobody has said it."""
        address = self.host_address or self.listen
        if address in {"0.0.0.0", "::"}:
            return ""
        has_port = address.rpartition(":")[2].isdigit() and (address.count(":") == 1 or "]:" in address)
        return address if has_port else f"{address}:{self.host_port}"

    @property
    def api_addresses(self) -> tuple[str, ...]:
        """The IPv4 addresses at which guests reach the AWS APIs: the content of S3's prefix list."""
        given = self.guest_listen or str(IPv4Network(self.public_pools[0])[1])
        try:
            own = IPv4Address(self.listen)
        except ValueError:  # a host name, or IPv6
            return (given,)
        return (given,) if own.is_loopback or own.is_unspecified or str(own) == given else (given, str(own))

    @property
    def api_ports(self) -> tuple[int, ...]:
        """The TCP ports of the AWS APIs through VPC endpoints: AWS's own, and those on which they listen elsewhere."""
        return tuple(sorted({80, 443, self.http_port, self.https_port}))

    @property
    def own_url(self) -> str:
        """The URL of the AWS APIs that receivers of notifications are told, without a slash at its end."""
        return self.api_url.rstrip("/") or f"https://{self.listen}:{self.https_port}"

    @property
    def database(self) -> str:
        """The SQLAlchemy URL of the state."""
        return self.database_url or f"sqlite:///{self.state_dir / 'stead.sqlite'}"

    @property
    def has_server(self) -> bool:
        """Tell whether the database is a server's, which further controllers may share."""
        return self.database.startswith("postgresql")

    @property
    def object_folder(self) -> Path:
        """The folder of the embedded object store's state."""
        return self.state_dir / "object-store"

    @property
    def metrics_folder(self) -> Path:
        """The folder of the embedded engine of metrics."""
        return self.state_dir / "metrics"

    @property
    def oidc_folder(self) -> Path:
        """The folder in which the operator names issuers of web identities, one file each."""
        return self.state_dir / "oidc"

    @property
    def audit_folder(self) -> Path:
        """The folder of records of calls, as JSON lines."""
        return self.state_dir / "audit"

    @property
    def incoming_folder(self) -> Path:
        """The folder of image files while they are uploaded and read, each in a folder of its own."""
        return self.state_dir / "incoming"

    @property
    def exchange_folder(self) -> Path:
        """The folder, with one subfolder per account, of files that ImportImage reads and ExportImage writes."""
        return self.state_dir / "exchange"

    @property
    def block_folder(self) -> Path:
        """The folder of the blocks of snapshots and images."""
        return self.state_dir / "blocks"
