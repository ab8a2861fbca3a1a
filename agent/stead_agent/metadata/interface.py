"""The metadata service's interface to the rest of the agent.

Every method may be called from any thread and may be repeated; `serve` and `withdraw` block for milliseconds, the
others only change a dictionary. A guest is identified by the VPC namespace its connection arrived in and its source
address, which the firewall protects from spoofing; never by the content of its request. Errors are `MetadataError`s.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

# The service's address for guests. The network subsystem makes it a local address of each VPC's namespace.
ADDRESS: Final = "169.254.169.254"
IPV6_ADDRESS: Final = "fd00:ec2::254"
PORT: Final = 80

# Where guests ask for the time, by NTP, likewise.
TIME_ADDRESS: Final = "169.254.169.123"
TIME_IPV6_ADDRESS: Final = "fd00:ec2::123"
TIME_PORT: Final = 123


class MetadataError(Exception):
    """The service cannot listen as requested; the message is for the operator."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key pair's public half; `openssh` is one line of authorized_keys."""

    name: str
    openssh: str


@dataclass(frozen=True, slots=True)
class Identity:
    """The instance identity document, and the controller's proofs of it: a signature and a PKCS #7 message, base64."""

    document: str
    signature: str
    pkcs7: str


@dataclass(frozen=True, slots=True)
class MaintenanceEvent:
    """What is scheduled for an instance, or was: `state` is active, completed or canceled."""

    id: str
    code: str
    description: str
    state: str
    not_before: int  # Unix seconds


@dataclass(frozen=True, slots=True)
class Options:
    """The instance's MetadataOptions, named as EC2 names them in lower case."""

    http_endpoint: bool = True  # False: every answer is 403
    http_tokens_required: bool = False  # True: every GET needs a token
    http_put_response_hop_limit: int = 2  # IP TTL of the answer that carries a token, 1 to 64
    instance_metadata_tags: bool = False
    http_protocol_ipv6: bool = False  # False: requests by IPv6 are answered by 403


@dataclass(frozen=True, slots=True)
class PublicAddress:
    """A public address and the private one it is translated to."""

    public_address: str
    private_address: str


@dataclass(frozen=True, slots=True)
class GuestInterface:
    """A network interface as metadata shows it; the one of device index 0 gives the guest its own addresses."""

    interface_id: str
    mac_address: str
    device_index: int
    private_addresses: tuple[str, ...]  # IPv4, the primary one first; none in a subnet of IPv6 only
    private_dns_name: str
    subnet_id: str
    subnet_cidr_block: str
    vpc_id: str
    vpc_cidr_blocks: tuple[str, ...]  # the primary one first
    public_addresses: tuple[PublicAddress, ...] = ()
    public_dns_name: str = ""
    security_group_ids: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()  # names; when empty, device 0 shows those of the guest
    ipv6_addresses: tuple[str, ...] = ()  # in their shortest form (RFC 5952)
    subnet_ipv6_cidr_block: str = ""
    vpc_ipv6_cidr_blocks: tuple[str, ...] = ()
    # Its source address before it has an IPv6 address (RFC 4291, appendix A); "" = it has no IPv6.
    link_local_address: str = ""


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """The credentials of a role session."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Role:
    """The guest's instance profile, its role if it has one, and the role's credentials, which expire.

    `without_token` is for requests without a token (IMDSv1); None: the same as with one.
    """

    profile_arn: str
    profile_id: str
    name: str = ""
    code: str = "Success"  # or EC2's code for why there are no credentials
    updated: int = 0  # Unix seconds
    expires: int = 0
    access_key_id: str = ""
    secret_access_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    without_token: SessionKeys | None = None


@dataclass(frozen=True, slots=True)
class PushedKey:
    """A public SSH key that one of the guest's users may log in with until it expires."""

    os_user: str
    openssh: str  # one authorized_keys line
    expires: int  # Unix seconds
    caller: str  # who pushed it, an ARN
    request_id: str


@dataclass(frozen=True, slots=True)
class Guest:
    """All metadata of one guest."""

    instance_id: str
    account_id: str
    reservation_id: str
    image_id: str
    instance_type: str
    region: str
    availability_zone: str
    hostname: str  # private DNS name
    interfaces: tuple[GuestInterface, ...]
    launch_index: int = 0
    pending_time: int = 0  # Unix seconds
    public_hostname: str = ""
    user_data: bytes | None = None  # None: it has none, which is not the same as empty
    public_keys: tuple[PublicKey, ...] = ()
    security_groups: tuple[str, ...] = ()  # names
    root_device_name: str = "/dev/sda1"
    ebs_device_names: tuple[str, ...] = ()  # at the last start, without the root device
    ephemeral_device_names: tuple[str, ...] = ()
    volumes: Mapping[str, str] = field(default_factory=dict)  # names that they are attached as now, by id
    tags: Mapping[str, str] = field(default_factory=dict)  # shown only with options.instance_metadata_tags
    options: Options = Options()
    role: Role | None = None  # None: it has no instance profile
    identity_role: Role | None = None  # by which the guest can prove its identity
    identity: Identity | None = None  # None: the controller has not sent one yet
    monitoring: bool = False  # detailed monitoring
    events: tuple[MaintenanceEvent, ...] = ()
    hibernation: bool = False  # whether it may hibernate
    availability_zone_id: str = ""
    host_id: str = ""  # dedicated host, or empty
    placement_group: str = ""  # its name, or empty
    partition_number: int | None = None  # of a placement group of partitions
    spot: bool = False  # a Spot Instance
    interruption_time: int | None = None  # Unix seconds, when a Spot Instance is to end; None: it has no notice
    target_lifecycle_state: str = ""  # to which it goes in its Auto Scaling group; empty: it is in none
    partition: str = "aws"
    domain: str = "amazonaws.com"


@dataclass(frozen=True, slots=True)
class Uses:
    """How often a guest has asked without a token since `process` began to serve it: with success, and in vain.

    In vain is where a token is required.
    """

    process: str
    without_token: int
    refused: int


class MetadataService(Protocol):
    """The metadata of this host's guests."""

    def serve(self, vpc_id: str, namespace: Path) -> None:
        """Listen inside a VPC's network namespace; when that path now leads to another namespace, move there.

        An open socket keeps a namespace alive: withdraw before the namespace is deleted.
        """

    def withdraw(self, vpc_id: str) -> None:
        """Stop listening in a VPC, close its connections and forget its guests."""

    def put(self, vpc_id: str, guest: Guest) -> None:
        """Answer a guest's requests from now on, from the addresses of its interfaces that are in this VPC.

        May come before `serve`. An address that another guest had is this guest's from now on.
        """

    def remove(self, vpc_id: str, instance_id: str) -> None:
        """Forget a guest; further requests from its addresses get 404."""

    def push_key(self, instance_id: str, key: PushedKey) -> None:
        """Show a key to a guest until it expires, or until this service's process ends.

        Raises MetadataError for an unknown guest, and for one that has as many keys as it may.
        """

    def uses(self) -> Mapping[str, Uses]:
        """Return how each guest has asked, by instance id."""

    def present(self) -> Mapping[str, frozenset[str]]:
        """List the VPCs that are served or have guests, and their guests' instance ids."""

    def close(self) -> None:
        """Withdraw everywhere and end the service's thread."""
