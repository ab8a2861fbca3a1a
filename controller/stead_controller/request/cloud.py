"""Settings of the whole cloud: its region and zone names, its pools, its master key."""

from dataclasses import dataclass, field

from stead_controller.request.refused_places import RefusedPlaces
from stead_controller.secrets.oidc_issuers import OidcIssuers
from stead_controller.secrets.sealing import Sealer, no_sealer
from stead_controller.settings import Settings


@dataclass(frozen=True, slots=True)
class Cloud:
    """Names and pools that requests need; from `settings.py`.

    `public_pools` are CIDR blocks; a released public address is not reused for `address_rest_seconds`; VPCs get their
    IPv6 blocks, a /56 each, from `ipv6_pool`; `elastic_addresses_per_account` is EC2's default quota;
    `dedicated_hosts_per_account` is how many hosts each account may have for itself. `api_addresses` and `api_ports`
    (TCP) are where guests reach the AWS APIs; at `endpoint_port` controllers receive requests through VPC endpoints.
    Storage pools may allocate `volume_overcommit` bytes of volumes per byte. `placement` is spread or pack.
    Notifications may go to `webhook_networks` beside public addresses. `issuers` are those of web identities; `sealer`
    seals and opens secrets; `refused` are the last searches for a host that found none.
    """

    region: str
    zones: tuple[str, ...]
    partition: str
    endpoint: str
    public_pools: tuple[str, ...] = ("198.18.0.0/16",)
    ipv6_pool: str = "fd73:7465::/32"
    address_rest_seconds: int = 60
    elastic_addresses_per_account: int = 5
    dedicated_hosts_per_account: int = 2
    api_addresses: tuple[str, ...] = ("198.18.0.1",)
    api_ports: tuple[int, ...] = (80, 443, 8773, 8774)
    endpoint_port: int = 8777
    cpu_overcommit: float = 4.0
    memory_kept: int = 1 << 30
    volume_overcommit: float = 4.0
    placement: str = "spread"
    webhook_networks: tuple[str, ...] = ()
    issuers: OidcIssuers = field(default_factory=OidcIssuers, repr=False, compare=False)
    sealer: Sealer = field(default_factory=no_sealer, repr=False, compare=False)
    refused: RefusedPlaces = field(default_factory=RefusedPlaces, repr=False, compare=False)


def cloud_of(settings: Settings) -> Cloud:
    """Return the settings that requests need."""
    return Cloud(
        region=settings.region,
        zones=settings.zones,
        partition="aws",
        endpoint=f"http://{settings.listen}:{settings.http_port}",
        public_pools=settings.public_pools,
        ipv6_pool=settings.ipv6_pool,
        address_rest_seconds=settings.address_rest_seconds,
        elastic_addresses_per_account=settings.elastic_addresses_per_account,
        dedicated_hosts_per_account=settings.dedicated_hosts_per_account,
        api_addresses=settings.api_addresses,
        api_ports=settings.api_ports,
        endpoint_port=settings.endpoint_port,
        cpu_overcommit=settings.cpu_overcommit,
        memory_kept=settings.memory_kept,
        volume_overcommit=settings.volume_overcommit,
        placement=settings.placement,
        webhook_networks=settings.webhook_networks,
    )
