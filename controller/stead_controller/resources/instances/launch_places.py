"""Places for the instances of one launch, one after the other, each where the earlier ones let it be."""

from collections import Counter
from dataclasses import replace
from datetime import datetime

from stead_controller.errors import NoCapacity
from stead_controller.placement.search import Terms
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources import quotas
from stead_controller.resources.host_capacity import capacity
from stead_controller.resources.host_capacity.capacity import Place
from stead_controller.resources.instances import (
    instance_groups,
    instance_needs,
    instance_reservations,
    launch_volumes,
    spot_interruptions,
)
from stead_controller.resources.instances.instance_groups import Neighbours
from stead_controller.resources.instances.launch_choices import Choices
from stead_proto import traces


class LaunchPlaces:
    """Reserves places; `next` does so for one more instance. `outside` counts those in no capacity reservation."""

    def __init__(
        self, tx: Transaction, cloud: Cloud, account_id: str, choices: Choices, *, spot: bool, now: datetime
    ) -> None:
        """Look up where the other instances of the placement group are, if there is one.

        Spot Instances are on no host whose room others have claimed.
        """
        self._tx = tx
        self._cloud = cloud
        self._account_id = account_id
        self._choices = choices
        self._spot = spot
        self._but = spot_interruptions.claimed_hosts(tx, now) if spot else frozenset()
        stores = launch_volumes.scratch_size(choices.type) * len(choices.disks.scratch)
        self._need = instance_needs.planned(choices.image, choices.type, choices.cpu_options, stores)
        self._beside: Counter[str] = Counter()
        self._terms = Terms(choices.type.name, choices.image.snapshot_id, self._beside, tenancy=choices.tenancy)
        self._slots_left = choices.reservations.unused
        self._most_outside = 0
        self.outside = 0
        self._neighbours: Neighbours | None = None
        if choices.group is not None:
            self._neighbours = instance_groups.neighbours(tx, choices.group, choices.subnet.zone)

    def allowed(self, least: int, most: int) -> int:
        """Return how many instances may be launched, up to `most`; raises LimitExceeded for less than `least`.

        Those in capacity reservations are part of the vCPUs that the account uses already.
        """
        if self._neighbours is not None:
            most = self._neighbours.launchable(least, most)
        reservations = self._choices.reservations
        if reservations.only:
            return most
        self._most_outside = self._launchable(max(0, least - reservations.unused), most)
        return min(most, reservations.unused + self._most_outside)

    def next(self) -> Place:
        """Reserve a place, in the partition of the placement group that has fewest.

        Raises NoCapacity, and LimitExceeded if it cannot be in a reservation as was expected.
        """
        if self._neighbours is None:
            return self._reserve(self._terms)
        partitions = self._neighbours.partitions()
        for number, partition in enumerate(partitions, 1):
            try:
                place = self._reserve(replace(self._terms, group=self._neighbours.group(partition)))
            except NoCapacity:
                if number == len(partitions):
                    raise
            else:
                self._neighbours.add(self._tx, place.host_id, partition)
                return replace(place, partition=partition)
        raise AssertionError("a launch into a group tries a partition, or none of them once")

    def refusal(self, refusal: NoCapacity, missing: int) -> NoCapacity:
        """Return a refusal with the Spot Instances that are to end for so many more instances, if any can.

        None end for another Spot Instance, nor for one that runs in a capacity reservation only, nor for a placement
        group, whose rules their end might not satisfy.
        """
        if self._spot or self._neighbours is not None or self._choices.reservations.only:
            return refusal
        choices = self._choices
        terms = replace(self._terms, beside={})
        zone = choices.subnet.zone
        search = capacity.search_for(self._cloud, self._need, zone, choices.disks.needs, terms)
        return spot_interruptions.for_room(self._tx, self._cloud, refusal, search, missing)

    def _reserve(self, terms: Terms) -> Place:
        with traces.span("placement") as choosing:
            place = self._in_a_reservation(terms) or self._elsewhere(terms)
            if choosing is not None:
                choosing.note({"stead.host": place.host_id})
        self._beside[place.host_id] += 1
        return place

    def _in_a_reservation(self, terms: Terms) -> Place | None:
        choices = self._choices
        if not self._slots_left and not choices.reservations.only:
            return None
        disks = choices.disks.needs
        search = capacity.search_for(self._cloud, self._need, choices.subnet.zone, disks, terms)
        place = instance_reservations.use(self._tx, self._cloud, choices.reservations, search, disks)
        if place is not None:
            self._slots_left -= 1
        elif self._neighbours is None:
            self._slots_left = 0  # what is left cannot be used by the next instance either
        return place

    def _elsewhere(self, terms: Terms) -> Place:
        if self.outside >= self._most_outside:  # slots that were counted on cannot be used
            self._launchable(self.outside + 1, self.outside + 1)
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
        self.outside += 1
        return place

    def _launchable(self, least: int, most: int) -> int:
        return quotas.launchable(self._tx, self._account_id, self._choices.cpu_options.vcpus, least, most)
