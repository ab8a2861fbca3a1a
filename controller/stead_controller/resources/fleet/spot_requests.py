"""Make, find and cancel the requests by which Spot Instances are launched.

All are one-time requests that are fulfilled at once: a launch without room is refused. See
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-request-status.html.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import and_, case, func, select

from stead_controller.db.tables import Instance, InterfaceGroup, NetworkInterface, SecurityGroup, SpotRequest, Volume
from stead_controller.errors import NoCapacity
from stead_controller.request import client_tokens, lookup
from stead_controller.request.caller import Caller
from stead_controller.request.client_tokens import Repeatable
from stead_controller.request.cloud import Cloud
from stead_controller.request.conditions import (
    NEVER,
    Condition,
    Selection,
    constant,
    exists_where,
    flag,
    instant,
    number,
    shown_as,
    text,
)
from stead_controller.request.transaction import Transaction
from stead_controller.request.zones import zone_ids
from stead_controller.resources import tags
from stead_controller.resources.instances.instance_states import SPOT_INTERRUPTION
from stead_controller.resources.instances.launch_choices import Choices
from stead_controller.resources.instances.launch_request import LaunchRequest
from stead_controller.resources.instances.run_instances import run_instances

_NO_WAITING: Final = " Requests that wait for room are not supported: ask again later."
_ENDED: Final = Instance.state.in_(("shutting-down", "terminated"))
_OF: Final = Instance.id == SpotRequest.instance_id

_MESSAGES: Final = {
    "fulfilled": "Your Spot request is fulfilled.",
    "instance-terminated-by-user": "Your Spot Instance was terminated.",
    "instance-terminated-no-capacity": "Your Spot Instance was terminated because there is no longer enough Spot "
    "capacity available.",
    "marked-for-termination": "Your Spot Instance is marked for termination because there is no longer enough Spot "
    "capacity available.",
    "request-canceled-and-instance-running": "Your Spot request is canceled, but your Spot Instance is still running.",
    "system-error": "Your Spot Instance was terminated due to a system error.",
}
"""What each code of a status means."""

# In this order: what has become of the instance counts more than what is to become of it.
_STATUS: Final = case(
    (and_(_ENDED, Instance.state_reason_code == SPOT_INTERRUPTION.code), "instance-terminated-no-capacity"),
    (and_(_ENDED, Instance.state_reason_code.like("Client.%")), "instance-terminated-by-user"),
    (_ENDED, "system-error"),
    (SpotRequest.cancelled.is_not(None), "request-canceled-and-instance-running"),
    (Instance.interruption.is_not(None), "marked-for-termination"),
    else_="fulfilled",
)
_STATE: Final = case((SpotRequest.cancelled.is_not(None), "cancelled"), (_ENDED, "closed"), else_="active")


@dataclass(frozen=True, slots=True)
class DescribedSpotRequest:
    """A request with its state, the code and the time of its status, its instance and its tags."""

    request: SpotRequest
    state: str
    status: str
    status_time: datetime
    instance: Instance
    zone_id: str | None
    tags: Sequence[tuple[str, str]]

    @property
    def message(self) -> str:
        """What its status means."""
        return _MESSAGES[self.status]


def conditions(cloud: Cloud) -> Mapping[str, Condition]:
    """All filters by name, without those about tags; those about what no request has match nothing."""
    volume = select(Volume.id).where(Volume.instance_id == SpotRequest.instance_id).correlate(SpotRequest)
    interface = select(NetworkInterface.id).where(NetworkInterface.instance_id == SpotRequest.instance_id)
    interface = interface.correlate(SpotRequest)
    member = interface.join(InterfaceGroup, InterfaceGroup.interface_id == NetworkInterface.id)
    group = member.join(SecurityGroup, SecurityGroup.id == InterfaceGroup.group_id)
    absent = (
        "availability-zone-group",
        "fault-code",
        "fault-message",
        "launch-group",
        "launch.kernel-id",
        "launch.ramdisk-id",
        "spot-price",
        "valid-from",
        "valid-until",
    )
    return {
        **dict.fromkeys(absent, NEVER),
        "create-time": instant(SpotRequest.created),
        "instance-id": text(SpotRequest.instance_id),
        "launch.block-device-mapping.delete-on-termination": exists_where(volume, flag(Volume.delete_on_termination)),
        "launch.block-device-mapping.device-name": exists_where(volume, text(Volume.device_name)),
        "launch.block-device-mapping.snapshot-id": exists_where(volume, text(Volume.snapshot_id)),
        "launch.block-device-mapping.volume-size": exists_where(volume, number(Volume.size)),
        "launch.block-device-mapping.volume-type": exists_where(volume, text(Volume.volume_type)),
        "launch.group-id": exists_where(group, text(SecurityGroup.id)),
        "launch.group-name": exists_where(group, text(SecurityGroup.name)),
        "launch.image-id": _of_instance(text(Instance.image_id)),
        "launch.instance-type": _of_instance(text(Instance.instance_type)),
        "launch.key-name": _of_instance(text(Instance.key_name)),
        "launch.monitoring-enabled": _of_instance(flag(Instance.monitoring)),
        "launched-availability-zone": _of_instance(text(Instance.zone)),
        "launched-availability-zone-id": _of_instance(shown_as(Instance.zone, zone_ids(cloud))),
        "network-interface.addresses.primary": exists_where(interface, constant("true")),
        "network-interface.delete-on-termination": exists_where(
            interface, flag(NetworkInterface.delete_on_termination)
        ),
        "network-interface.description": exists_where(interface, text(NetworkInterface.description)),
        "network-interface.device-index": exists_where(interface, number(NetworkInterface.device_index)),
        "network-interface.group-id": exists_where(group, text(SecurityGroup.id)),
        "network-interface.network-interface-id": exists_where(interface, text(NetworkInterface.id)),
        "network-interface.private-ip-address": exists_where(interface, text(NetworkInterface.private_address)),
        "network-interface.subnet-id": exists_where(interface, text(NetworkInterface.subnet_id)),
        "product-description": constant("Linux/UNIX"),
        "spot-instance-request-id": text(SpotRequest.id),
        "state": _of_instance(text(_STATE)),
        "status-code": _of_instance(text(_STATUS)),
        "status-message": _of_instance(text(case(_MESSAGES, value=_STATUS))),
        "type": constant("one-time"),
    }


def _of_instance(inner: Condition) -> Condition:
    return exists_where(select(Instance.id).where(_OF).correlate(SpotRequest), inner)


def launch(
    tx: Transaction,
    caller: Caller,
    cloud: Cloud,
    request: LaunchRequest,
    repeated: Repeatable,
    *,
    now: datetime,
    choices: Choices | None = None,
) -> list[DescribedSpotRequest]:
    """Launch Spot Instances, each by a request of its own, all or none; a repeated request gets those that it made.

    `choices` are those of this launch, if they were made already. Raises what `run_instances` raises.
    """

    def make() -> str:
        try:
            return run_instances(tx, caller, cloud, request, now, choices=choices)
        except NoCapacity as refusal:
            raise NoCapacity(refusal.message + _NO_WAITING, code=refusal.code) from refusal

    reservation_id = client_tokens.once(tx, caller, repeated, now, make)
    mine = Instance.account_id == caller.account_id
    found = tx.session.scalars(select(Instance.spot_request_id).where(mine, Instance.reservation_id == reservation_id))
    return _described(tx, caller, cloud, [request_id for request_id in found if request_id is not None])


def describe(tx: Transaction, caller: Caller, cloud: Cloud, asked: Selection) -> list[DescribedSpotRequest]:
    """List the caller's requests, sorted by id; raises MalformedId, NotFound."""
    mine = SpotRequest.account_id == caller.account_id
    lookup.require(tx, "spot-instances-request", SpotRequest.id, asked.ids, mine)
    found = lookup.select_ids(tx, caller, SpotRequest.id, asked, mine, conditions=conditions(cloud))
    return _described(tx, caller, cloud, found)


def cancel(
    tx: Transaction, caller: Caller, cloud: Cloud, request_ids: Sequence[str], now: datetime
) -> list[DescribedSpotRequest]:
    """Cancel requests, whose instances go on running; raises MalformedId, NotFound.

    Those that are cancelled or closed already stay as they are.
    """
    mine = SpotRequest.account_id == caller.account_id
    lookup.require(tx, "spot-instances-request", SpotRequest.id, request_ids, mine)
    wanted = list(dict.fromkeys(request_ids))
    for found in _described(tx, caller, cloud, wanted):
        if found.state == "active":
            found.request.cancelled = now
    tx.session.flush()
    return _described(tx, caller, cloud, wanted)


def _described(tx: Transaction, caller: Caller, cloud: Cloud, request_ids: Sequence[str]) -> list[DescribedSpotRequest]:
    tagged = tags.pairs_of(tx, caller.account_id, request_ids)
    zones = zone_ids(cloud)
    changed = func.coalesce(case((_ENDED, Instance.state_changed)), SpotRequest.cancelled, SpotRequest.created)
    query = select(SpotRequest, _STATE, _STATUS, changed, Instance).join(Instance, _OF).order_by(SpotRequest.id)
    return [
        DescribedSpotRequest(
            request, state, status, time, instance, zones.get(instance.zone), tagged.get(request.id, ())
        )
        for batch in lookup.batches(request_ids)
        for request, state, status, time, instance in tx.session.execute(query.where(SpotRequest.id.in_(batch)))
    ]
