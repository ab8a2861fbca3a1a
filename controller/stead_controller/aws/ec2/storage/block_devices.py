"""Block device mappings as requests write them."""

from collections.abc import Iterable, Mapping
from typing import Any

from stead_controller.errors import InvalidParameter, Unsupported
from stead_controller.resources.storage.block_devices import INVALID, BlockDevice


def parse(given: Iterable[Mapping[str, Any]]) -> tuple[BlockDevice, ...]:
    """Read `BlockDeviceMapping.N`; raises InvalidParameter, Unsupported."""
    return tuple(_parse(one) for one in given)


def _parse(given: Mapping[str, Any]) -> BlockDevice:
    name = given.get("DeviceName", "")
    if not name:
        raise InvalidParameter("The request must contain the parameter DeviceName", code="MissingParameter")
    if given.get("NoDevice") is not None:
        return BlockDevice(name, no_device=True)
    ebs: Mapping[str, Any] = given.get("Ebs") or {}
    virtual_name = given.get("VirtualName")
    if ebs and virtual_name and not virtual_name.startswith("ephemeral"):
        virtual_name = None  # a name that dask-cloudprovider gives the volume, which EC2 ignores
    if ebs and virtual_name:
        raise InvalidParameter(f"The device '{name}' has both Ebs and VirtualName.", code=INVALID)
    if ebs.get("OutpostArn"):
        raise Unsupported("The parameter OutpostArn is not supported.")
    return BlockDevice(
        name,
        snapshot_id=ebs.get("SnapshotId") or None,
        size=ebs.get("VolumeSize"),
        volume_type=ebs.get("VolumeType"),
        iops=ebs.get("Iops"),
        throughput=ebs.get("Throughput"),
        delete_on_termination=ebs.get("DeleteOnTermination"),
        encrypted=ebs.get("Encrypted"),
        kms_key_id=ebs.get("KmsKeyId") or None,
        virtual_name=virtual_name,
    )
