"""A launch request becomes what it will use: image, type, subnet, groups, key; every refusal of a launch is here."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from sqlalchemy import select

from stead_controller.db.tables import Image, KeyPair, Subnet, Vpc
from stead_controller.errors import (
    InvalidParameter,
    NotFound,
    Unsupported,
)
from stead_controller.resources import images, instance_types, launch_interfaces, lookup
from stead_controller.resources.caller import Caller
from stead_controller.resources.cloud import Cloud
from stead_controller.resources.instance_types import InstanceType
from stead_controller.resources.launch_interfaces import InterfacePlan
from stead_controller.resources.transaction import Transaction

if TYPE_CHECKING:
    from stead_controller.resources.run_instances import LaunchRequest, RootVolume

_GIB: Final = 1 << 30
# Least and most GiB (https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_EbsBlockDevice.html).
_VOLUME_SIZES: Final = {
    "gp2": (1, 16384),
    "gp3": (1, 65536),
    "io1": (4, 16384),
    "io2": (4, 65536),
    "st1": (125, 16384),
    "sc1": (125, 16384),
    "standard": (1, 1024),
}


@dataclass(frozen=True, slots=True)
class Choices:
    """What all instances of a launch share; the first interface is the primary one."""

    image: Image
    type: InstanceType
    interfaces: tuple[InterfacePlan, ...]
    public_key: str | None

    @property
    def subnet(self) -> Subnet:
        """The subnet of the primary interface."""
        return self.interfaces[0].subnet


def choose(tx: Transaction, caller: Caller, cloud: Cloud, request: "LaunchRequest") -> Choices:
    """Look up and check all that a launch names; raises BadRequest and NotFound as EC2 does."""
    kind = instance_types.find(request.instance_type)
    if kind is None:
        raise InvalidParameter(f"Invalid value '{request.instance_type}' for InstanceType.")
    image = images.find_launchable(tx, caller, request.image_id)
    _check_image(image, kind, request)
    _check_root(image, request.root)
    interfaces = launch_interfaces.plan(
        tx,
        caller,
        request.wishes,
        kind,
        many=request.max_count > 1,
        find_subnet=partial(_subnet, tx, caller, cloud, request.zone),
    )
    _check_zone(request.zone, interfaces[0].subnet)
    return Choices(image, kind, interfaces, _public_key(tx, caller, request.key_name))


def _check_image(image: Image, kind: InstanceType, request: "LaunchRequest") -> None:
    if image.architecture not in kind.architectures:
        raise InvalidParameter(
            f"The architecture '{image.architecture}' of the specified AMI does not match that of the instance type "
            f"'{kind.name}'."
        )
    if request.root_device_name not in (None, image.root_device_name):
        raise Unsupported(
            f"{request.root_device_name} is not the root device {image.root_device_name} of {image.id}; further "
            "volumes at launch are not supported yet."
        )


def _check_root(image: Image, root: "RootVolume") -> None:
    least, most = _VOLUME_SIZES.get(root.volume_type, (0, 0))
    if not most:
        raise InvalidParameter(f"Invalid volume type '{root.volume_type}'")
    if root.encrypted:
        raise Unsupported("Encrypted volumes are not supported yet.")
    if root.size is None:
        return
    if root.size * _GIB < image.virtual_size:
        needed = -(-image.virtual_size // _GIB)
        raise InvalidParameter(
            f"Volume of size {root.size}GB is smaller than snapshot '{image.snapshot_id}', expect size >= {needed}GB",
            code="InvalidBlockDeviceMapping",
        )
    if not least <= root.size <= most:
        raise InvalidParameter(f"Volume of {root.size}GiB is invalid; must be between {least}GiB and {most}GiB")


def _subnet(tx: Transaction, caller: Caller, cloud: Cloud, zone: str | None, subnet_id: str | None) -> Subnet:
    if zone is not None and zone not in cloud.zones:
        raise InvalidParameter(f"Invalid availability zone: [{zone}]")
    if subnet_id is None:
        return _default_subnet(tx, caller, cloud, zone)
    return lookup.find(tx, caller, "subnet", Subnet, subnet_id)


def _check_zone(zone: str | None, subnet: Subnet) -> None:
    if zone not in (None, subnet.zone):
        raise InvalidParameter(f"The availability zone '{zone}' does not match the subnet's, which is '{subnet.zone}'")


def _default_subnet(tx: Transaction, caller: Caller, cloud: Cloud, zone: str | None) -> Subnet:
    query = (
        select(Subnet)
        .join(Vpc, Vpc.id == Subnet.vpc_id)
        .where(Vpc.account_id == caller.account_id, Vpc.is_default.is_(True), Subnet.default_for_zone.is_(True))
    )
    found = {subnet.zone: subnet for subnet in tx.session.scalars(query)}
    if not found:
        raise InvalidParameter(
            "No default VPC for this user. GroupName is only supported for EC2-Classic and default VPC.",
            code="VPCIdNotSpecified",
        )
    for name in (zone,) if zone else cloud.zones:
        if name in found:
            return found[name]
    raise InvalidParameter(f"No default subnet for availability zone: '{zone}'.", code="MissingInput")


def _public_key(tx: Transaction, caller: Caller, key_name: str | None) -> str | None:
    if key_name is None:
        return None
    query = select(KeyPair.public_key).where(KeyPair.account_id == caller.account_id, KeyPair.name == key_name)
    found = tx.session.scalar(query)
    if found is None:
        raise NotFound("key-pair", key_name)
    return found
