"""The parameters of a launch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from stead_controller.resources.instances.cpu_options import CpuOptions
from stead_controller.resources.instances.instance_groups import GroupRequest
from stead_controller.resources.instances.instance_reservations import ReservationRequest
from stead_controller.resources.instances.instance_tenancies import TenancyRequest
from stead_controller.resources.instances.launch_interfaces import InterfaceRequest
from stead_controller.resources.instances.metadata_options import MetadataOptions
from stead_controller.resources.instances.profile_associations import ProfileName
from stead_controller.resources.network.network_interface_life import AddressRequest
from stead_controller.resources.network.private_names import NameOptions
from stead_controller.resources.storage.block_devices import BlockDevice


@dataclass(frozen=True, slots=True)
class LaunchRequest:
    """RunInstances, parsed; `tags` are by resource type, `digest` that of all parameters with a ClientToken.

    Subnet, addresses and groups are those of the only interface, if `interfaces` is empty. `system_tags` are those of
    instances whose keys begin with `aws:`, which no request can set. `spot_request_ids` are the requests that wait for
    this launch of Spot Instances, one for each; without them each gets a new one.
    """

    image_id: str
    instance_type: str
    min_count: int
    max_count: int
    key_name: str | None = None
    user_data: bytes | None = None
    client_token: str = ""
    digest: str = ""
    zone: str | None = None
    zone_id: str | None = None
    group: GroupRequest = field(default_factory=GroupRequest)
    subnet_id: str | None = None
    addresses: AddressRequest = field(default_factory=AddressRequest)
    group_ids: tuple[str, ...] = ()
    group_names: tuple[str, ...] = ()
    interfaces: tuple[InterfaceRequest, ...] = ()
    reservation: ReservationRequest = field(default_factory=ReservationRequest)
    tenancy: TenancyRequest = field(default_factory=TenancyRequest)
    cpu_options: CpuOptions | None = None
    cpu_credits: str | None = None
    block_devices: tuple[BlockDevice, ...] = ()
    shutdown_behavior: str = "stop"
    disable_api_termination: bool = False
    disable_api_stop: bool = False
    ebs_optimized: bool = False
    hibernation: bool = False
    target_lifecycle_state: str | None = None
    monitoring: bool = False
    auto_recovery: bool = True
    metadata: MetadataOptions = field(default_factory=MetadataOptions)
    names: NameOptions = field(default_factory=NameOptions)
    profile: ProfileName | None = None
    spot: bool = False
    max_price: Decimal | None = None
    spot_request_ids: tuple[str, ...] = ()
    tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    system_tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def all_tags(self) -> Mapping[str, Mapping[str, str]]:
        """The tags of everything that is launched, with those of Stead's own."""
        if not self.system_tags:
            return self.tags
        return {**self.tags, "instance": {**self.tags.get("instance", {}), **self.system_tags}}

    @property
    def interface_requests(self) -> tuple[InterfaceRequest, ...]:
        """The interfaces that are asked for."""
        if self.interfaces:
            return self.interfaces
        only = InterfaceRequest(
            subnet_id=self.subnet_id,
            group_ids=self.group_ids,
            group_names=self.group_names,
            addresses=self.addresses,
        )
        return (only,)
