"""Ways by which a group launches, as tests want them: what is read of a group's stored launch elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from stead_controller.errors import NoCapacity, SteadError
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.fleet.fleet_launch import Pool
from stead_controller.resources.instances.launch_request import LaunchRequest
from stead_controller.resources.scaling.launches import Origin, Wanted, Ways
from stead_controller.resources.scaling.termination import Distribution


@dataclass
class LaunchWays:
    """Launches instances of `types`, each counting as its `weight`, from template lt-1 in a `version`.

    Reading is refused with the error `refused` has for the subnet, or for any place with that for None; `asked` is what
    was read. In a subnet and a market (whether that of Spot Instances) that is `full` there is no room.
    """

    image_id: str
    types: Sequence[str] = ("stead.tiny",)
    weight: int = 1
    version: int = 1
    distribution: Distribution | None = None
    refused: dict[str | None, SteadError] = field(default_factory=dict)
    full: set[tuple[str | None, bool]] = field(default_factory=set)
    broken: SteadError | None = None
    asked: list[Wanted] = field(default_factory=list)

    def read(self, _: Transaction, caller: Caller, wanted: Wanted) -> Ways:
        """Return the ways, of which a first one cannot be launched at all where it is `broken`."""
        assert caller.arn.endswith(f":{caller.account_id}:root")
        self.asked.append(wanted)
        error = self.refused.get(wanted.subnet) or self.refused.get(None)
        if error is not None:
            raise error
        pools = [Pool(number, self._request(name, wanted), self.weight) for number, name in enumerate(self.types, 1)]
        if self.broken is not None:
            pools.insert(0, Pool(0, None, error=self.broken))
        if (wanted.subnet, wanted.spot) in self.full:
            pools = [Pool(0, None, error=NoCapacity("There is no room."))]
        origin = Origin("lt-1", "web", self.version)
        return Ways(pools, {pool.number: origin for pool in pools}, distribution=self.distribution)

    def _request(self, name: str, wanted: Wanted) -> LaunchRequest:
        return LaunchRequest(
            self.image_id,
            name,
            1,
            wanted.units,
            zone=wanted.zone,
            subnet_id=wanted.subnet,
            tags={"instance": dict(wanted.tags or {})},
            spot=wanted.spot,
            shutdown_behavior="terminate" if wanted.spot else "stop",
        )
