"""Places for the instances of one launch, one after the other, each where the earlier ones let it be."""

from collections import Counter
from dataclasses import replace
from datetime import datetime

from stead_controller.errors import NoCapacity
from stead_controller.placement.search import Terms
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.host_capacity import capacity
from stead_controller.resources.host_capacity.capacity import Place
from stead_controller.resources.instances import instance_groups, instance_needs, launch_volumes, spot_interruptions
from stead_controller.resources.instances.instance_groups import Neighbours
from stead_controller.resources.instances.launch_choices import Choices


class LaunchPlaces:
    """Reserves places; `next` does so for one more instance."""

    def __init__(self, tx: Transaction, cloud: Cloud, choices: Choices, *, spot: bool, now: datetime) -> None:
        """Look up where the other instances of the placement group are, if there is one.

        Spot Instances are on no host whose room others have claimed.
        """
        self._tx = tx
        self._cloud = cloud
        self._choices = choices
        self._spot = spot
        self._but = spot_interruptions.claimed_hosts(tx, now) if spot else frozenset()
        stores = launch_volumes.scratch_size(choices.type) * len(choices.disks.scratch)
        self._need = instance_needs.planned(choices.image, choices.type, choices.cpu_options, stores)
        self._beside: Counter[str] = Counter()
        self._neighbours: Neighbours | None = None
        if choices.group is not None:
            self._neighbours = instance_groups.neighbours(tx, choices.group, choices.subnet.zone)

    def allowed(self, least: int, most: int) -> int:
        """Return how many instances may be launched, up to `most`; raises LimitExceeded for less than `least`."""
        return most if self._neighbours is None else self._neighbours.launchable(least, most)

    def next(self) -> Place:
        """Reserve a place, in the partition of the placement group that has fewest; raises NoCapacity."""
        if self._neighbours is None:
            return self._reserve(Terms(self._choices.type.name, self._choices.image.snapshot_id, self._beside))
        partitions = self._neighbours.partitions()
        for number, partition in enumerate(partitions, 1):
            group = self._neighbours.group(partition)
            terms = Terms(self._choices.type.name, self._choices.image.snapshot_id, self._beside, group=group)
            try:
                place = self._reserve(terms)
            except NoCapacity:
                if number == len(partitions):
                    raise
            else:
                self._neighbours.add(self._tx, place.host_id, partition)
                return replace(place, partition=partition)
        raise AssertionError("a launch into a group tries a partition, or none of them once")

    def refusal(self, refusal: NoCapacity, missing: int) -> NoCapacity:
        """Return a refusal with the Spot Instances that are to end for so many more instances, if any can.

        None end for another Spot Instance, nor for a placement group, whose rules their end might not satisfy.
        """
        if self._spot or self._neighbours is not None:
            return refusal
        choices = self._choices
        terms = Terms(choices.type.name, choices.image.snapshot_id)
        zone = choices.subnet.zone
        search = capacity.search_for(self._cloud, self._need, zone, choices.disks.needs, terms)
        return spot_interruptions.for_room(self._tx, self._cloud, refusal, search, missing)

    def _reserve(self, terms: Terms) -> Place:
        choices = self._choices
        place = capacity.reserve_any(
            self._tx,
            self._cloud,
            self._need,
            choices.subnet.zone,
            choices.disks.needs,
            terms=terms,
            but=self._but,
        )
        self._beside[place.host_id] += 1
        return place
