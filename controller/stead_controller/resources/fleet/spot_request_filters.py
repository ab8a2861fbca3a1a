"""Filters of requests for Spot Instances, which compare an instance or, of a request that waits, what it asks for."""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import ColumnElement, and_, case, or_, select

from stead_controller.db.tables import (
    Instance,
    InterfaceGroup,
    NetworkInterface,
    SecurityGroup,
    SpotRequest,
    SpotRequestValue,
    Volume,
)
from stead_controller.request.cloud import Cloud
from stead_controller.request.conditions import (
    NEVER,
    Condition,
    constant,
    exists_where,
    flag,
    instant,
    number,
    shown_as,
    text,
)
from stead_controller.request.filters import Filter
from stead_controller.request.zones import zone_ids
from stead_controller.resources.fleet.spot_request_states import (
    MESSAGES,
    STATE_WITH,
    STATE_WITHOUT,
    STATUS_WITH,
    WITHOUT,
)

# Of what no request has.
_ABSENT: Final = (
    "availability-zone-group",
    "launch-group",
    "launch.kernel-id",
    "launch.ramdisk-id",
    "spot-price",
)
_INSTANCE: Final = select(Instance.id).where(Instance.id == SpotRequest.instance_id).correlate(SpotRequest)
_VOLUME: Final = select(Volume.id).where(Volume.instance_id == SpotRequest.instance_id).correlate(SpotRequest)
_INTERFACE: Final = (
    select(NetworkInterface.id).where(NetworkInterface.instance_id == SpotRequest.instance_id).correlate(SpotRequest)
)
_GROUP: Final = _INTERFACE.join(InterfaceGroup, InterfaceGroup.interface_id == NetworkInterface.id).join(
    SecurityGroup, SecurityGroup.id == InterfaceGroup.group_id
)
_OF_LAUNCH: Final[Mapping[str, Condition]] = {
    "launch.block-device-mapping.delete-on-termination": exists_where(_VOLUME, flag(Volume.delete_on_termination)),
    "launch.block-device-mapping.device-name": exists_where(_VOLUME, text(Volume.device_name)),
    "launch.block-device-mapping.snapshot-id": exists_where(_VOLUME, text(Volume.snapshot_id)),
    "launch.block-device-mapping.volume-size": exists_where(_VOLUME, number(Volume.size)),
    "launch.block-device-mapping.volume-type": exists_where(_VOLUME, text(Volume.volume_type)),
    "launch.group-id": exists_where(_GROUP, text(SecurityGroup.id)),
    "launch.group-name": exists_where(_GROUP, text(SecurityGroup.name)),
    "launch.image-id": exists_where(_INSTANCE, text(Instance.image_id)),
    "launch.instance-type": exists_where(_INSTANCE, text(Instance.instance_type)),
    "launch.key-name": exists_where(_INSTANCE, text(Instance.key_name)),
    "launch.monitoring-enabled": exists_where(_INSTANCE, flag(Instance.monitoring)),
    "network-interface.addresses.primary": exists_where(_INTERFACE, constant("true")),
    "network-interface.delete-on-termination": exists_where(_INTERFACE, flag(NetworkInterface.delete_on_termination)),
    "network-interface.description": exists_where(_INTERFACE, text(NetworkInterface.description)),
    "network-interface.device-index": exists_where(_INTERFACE, number(NetworkInterface.device_index)),
    "network-interface.group-id": exists_where(_GROUP, text(SecurityGroup.id)),
    "network-interface.network-interface-id": exists_where(_INTERFACE, text(NetworkInterface.id)),
    "network-interface.private-ip-address": exists_where(_INTERFACE, text(NetworkInterface.private_address)),
    "network-interface.subnet-id": exists_where(_INTERFACE, text(NetworkInterface.subnet_id)),
}


def conditions(cloud: Cloud) -> Mapping[str, Condition]:
    """All filters by name, without those about tags; those about what no request has match nothing."""
    status, fault = SpotRequest.status, SpotRequest.fault
    return {
        **dict.fromkeys(_ABSENT, NEVER),
        **{name: _launched_or_wanted(name, of_instance) for name, of_instance in _OF_LAUNCH.items()},
        "create-time": instant(SpotRequest.created),
        "fault-code": text(case((fault.is_not(None), status))),
        "fault-message": text(fault),
        "instance-id": text(SpotRequest.instance_id),
        "launched-availability-zone": exists_where(_INSTANCE, text(Instance.zone)),
        "launched-availability-zone-id": exists_where(_INSTANCE, shown_as(Instance.zone, zone_ids(cloud))),
        "product-description": constant("Linux/UNIX"),
        "spot-instance-request-id": text(SpotRequest.id),
        "state": _with_or_without(text(STATE_WITH), text(STATE_WITHOUT)),
        "status-code": _with_or_without(text(STATUS_WITH), text(status)),
        "status-message": _with_or_without(text(case(MESSAGES, value=STATUS_WITH)), text(case(MESSAGES, value=status))),
        "type": shown_as(SpotRequest.persistent, {False: "one-time", True: "persistent"}),
        "valid-from": instant(SpotRequest.valid_from),
        "valid-until": instant(SpotRequest.valid_until),
    }


def _launched_or_wanted(name: str, of_instance: Condition) -> Condition:
    """Require something of the instance or, of a request that waits, of what it asks for."""
    asked = select(SpotRequestValue.name).where(
        SpotRequestValue.request_id == SpotRequest.id, SpotRequestValue.name == name
    )
    wanted = exists_where(asked.correlate(SpotRequest), text(SpotRequestValue.value))
    return lambda given: or_(of_instance(given), wanted(given))


def _with_or_without(with_one: Condition, without: Condition) -> Condition:
    """Require something of a request that has an instance, or of one that has none."""
    of_instance = exists_where(_INSTANCE, with_one)

    def condition(given: Filter) -> ColumnElement[bool]:
        return or_(of_instance(given), and_(WITHOUT, without(given)))

    return condition
