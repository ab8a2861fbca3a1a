"""Find and cancel requests for Spot Instances.

Those of RunInstances and of fleets are one-time requests that are fulfilled at once, or the launch is refused; those of
RequestSpotInstances wait for room (`waiting_spot_requests.py`), and the persistent ones again after each instance.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from stead_controller.db.tables import Instance, SpotRequest
from stead_controller.request import client_tokens, lookup
from stead_controller.request.caller import Caller
from stead_controller.request.client_tokens import Repeatable
from stead_controller.request.cloud import Cloud
from stead_controller.request.conditions import Selection
from stead_controller.request.transaction import Transaction
from stead_controller.request.zones import zone_ids
from stead_controller.resources import tags
from stead_controller.resources.fleet import waiting_spot_requests
from stead_controller.resources.fleet.spot_request_filters import conditions
from stead_controller.resources.fleet.spot_request_states import CHANGED, MESSAGES, STATE, STATUS
from stead_controller.resources.fleet.waiting_spot_requests import Wanted
from stead_controller.resources.instances.launch_choices import Choices
from stead_controller.resources.instances.terminate_instances import terminate_instances


@dataclass(frozen=True, slots=True)
class DescribedSpotRequest:
    """A request with its state, the code and the time of its status, its tags, and its instance, if it has one."""

    request: SpotRequest
    state: str
    status: str
    status_time: datetime
    instance: Instance | None
    zone_id: str | None
    tags: Sequence[tuple[str, str]]

    @property
    def message(self) -> str:
        """What its status means."""
        return MESSAGES[self.status]


def request(
    tx: Transaction,
    caller: Caller,
    cloud: Cloud,
    wanted: Wanted,
    repeated: Repeatable,
    *,
    now: datetime,
    choices: Choices | None = None,
) -> list[DescribedSpotRequest]:
    """Make requests, which wait where there is no room; a repeated call gets those that the first one made.

    `choices` are those of the launch, if they were made already. Raises what `waiting_spot_requests.add` raises.
    """

    def make() -> str:
        return waiting_spot_requests.add(tx, caller, cloud, wanted, now, choices=choices)

    batch_id = client_tokens.once(tx, caller, repeated, now, make)
    mine = SpotRequest.account_id == caller.account_id
    found = tx.session.scalars(select(SpotRequest.id).where(mine, SpotRequest.batch_id == batch_id))
    return _described(tx, caller, cloud, list(found))


def describe(tx: Transaction, caller: Caller, cloud: Cloud, asked: Selection) -> list[DescribedSpotRequest]:
    """List the caller's requests, sorted by id; raises MalformedId, NotFound."""
    mine = SpotRequest.account_id == caller.account_id
    lookup.require(tx, "spot-instances-request", SpotRequest.id, asked.ids, mine)
    found = lookup.select_ids(tx, caller, SpotRequest.id, asked, mine, conditions=conditions(cloud))
    return _described(tx, caller, cloud, found)


def cancel(
    tx: Transaction, caller: Caller, cloud: Cloud, request_ids: Sequence[str], now: datetime
) -> list[DescribedSpotRequest]:
    """Cancel requests: those that wait are never fulfilled, instances go on running. Raises MalformedId, NotFound.

    Instances that their users have stopped are terminated, as in EC2. Requests that are over already stay as they are.
    """
    mine = SpotRequest.account_id == caller.account_id
    lookup.require(tx, "spot-instances-request", SpotRequest.id, request_ids, mine)
    wanted = list(dict.fromkeys(request_ids))
    for found in _described(tx, caller, cloud, wanted):
        if found.state == "open" and found.instance is None:
            waiting_spot_requests.cancel(found.request, now)
        elif found.state in ("active", "disabled", "open"):
            found.request.cancelled, found.request.expires = now, None
            if found.state == "disabled" and found.instance is not None:
                terminate_instances(tx, caller, [found.instance.id], now)
    tx.session.flush()
    return _described(tx, caller, cloud, wanted)


def _described(tx: Transaction, caller: Caller, cloud: Cloud, request_ids: Sequence[str]) -> list[DescribedSpotRequest]:
    tagged = tags.pairs_of(tx, caller.account_id, request_ids)
    zones = zone_ids(cloud)
    joined = select(SpotRequest, STATE, STATUS, CHANGED, Instance).outerjoin(
        Instance, Instance.id == SpotRequest.instance_id
    )
    query = joined.order_by(SpotRequest.id).execution_options(populate_existing=True)
    return [
        DescribedSpotRequest(
            made,
            state,
            status,
            time,
            instance,
            zones.get(instance.zone) if instance is not None else None,
            tagged.get(made.id, ()),
        )
        for batch in lookup.batches(request_ids)
        for made, state, status, time, instance in tx.session.execute(query.where(SpotRequest.id.in_(batch)))
    ]
