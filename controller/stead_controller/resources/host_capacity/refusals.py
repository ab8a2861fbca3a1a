"""Count why no host could take an instance, for `stead placement explain --refused`."""

from collections.abc import Collection
from typing import Final

from stead_controller.placement.choose_host import Refusal, explain
from stead_controller.placement.search import Search
from stead_controller.request.cloud import Cloud
from stead_controller.request.refused_places import Counts, Refusing, Wanted
from stead_controller.request.transaction import Transaction
from stead_controller.resources.host_capacity import rooms

_LEFT_OUT: Final = Refusal("left-out", "it still uses a volume of the instance, or Spot Instances end there for others")
_DISKS: Final = Refusal("disks", "its pools have no room for all of the instance's disks")


def note(tx: Transaction, cloud: Cloud, search: Search, but: Collection[str] = ()) -> None:
    """Store that a search found no host, `but` not these, and by how many hosts each rule refused."""
    group = search.terms.group
    wanted = Wanted(
        search.terms.instance_type,
        search.zone,
        search.need.vcpus,
        search.need.memory,
        search.disk,
        group.strategy if group is not None else "",
    )
    cloud.refused.add(wanted, lambda: _count(tx, cloud, search, but))


def _count(tx: Transaction, cloud: Cloud, search: Search, but: Collection[str]) -> Counts:
    hosts = 0
    numbers: dict[str, int] = {}
    reasons: dict[str, str] = {}
    for room, refusals in explain(rooms.every(tx, cloud, search), search):
        if room.zone != search.zone:
            continue
        hosts += 1
        # A host that no rule refuses was left out, or its disks together are too large for it.
        for rule, reason in refusals or ((_LEFT_OUT,) if room.host_id in but else (_DISKS,)):
            numbers[rule] = numbers.get(rule, 0) + 1
            reasons.setdefault(rule, reason)
    most_first = sorted(numbers, key=lambda rule: -numbers[rule])
    return Counts(hosts, tuple(Refusing(rule, numbers[rule], reasons[rule]) for rule in most_first))
