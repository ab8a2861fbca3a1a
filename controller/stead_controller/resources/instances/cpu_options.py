"""How many cores an instance has, and how many threads of each: those of its type, or fewer.

See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-optimize-cpu.html.
"""

from dataclasses import dataclass

from stead_controller.catalog.instance_type import InstanceType
from stead_controller.db.tables import Instance
from stead_controller.desired import desired_state
from stead_controller.errors import InvalidParameter, WrongState
from stead_controller.request import instance_types, lookup
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction


@dataclass(frozen=True, slots=True)
class CpuOptions:
    """A number of cores, and of threads of each of them."""

    cores: int
    threads_per_core: int

    @property
    def vcpus(self) -> int:
        """How many vCPUs that are."""
        return self.cores * self.threads_per_core


def settle(kind: InstanceType, asked: CpuOptions | None) -> CpuOptions:
    """Return what an instance of a type gets; raises InvalidParameter for what the type does not allow."""
    if asked is None:
        return CpuOptions(kind.cores, kind.threads_per_core)
    for value, valid, word in (
        (asked.cores, kind.valid_cores, "coreCount"),
        (asked.threads_per_core, kind.valid_threads_per_core, "threadsPerCore"),
    ):
        if value not in valid:
            raise InvalidParameter(
                f"Value ({value}) for parameter {word} is invalid. An instance of the type {kind.name} can have "
                f"{', '.join(map(str, valid))}."
            )
    return asked


def modify(tx: Transaction, caller: Caller, instance_id: str, asked: CpuOptions) -> Instance:
    """Change the options of a stopped instance and return it.

    Raises MalformedId, NotFound, WrongState, InvalidParameter.
    """
    instance = lookup.find(tx, caller, "instance", Instance, instance_id)
    if instance.state != "stopped":
        raise WrongState("instance", f"The instance '{instance.id}' is not in the 'stopped' state.")
    if instance.memory_saved:
        raise WrongState("instance", f"The instance '{instance.id}' is hibernated.", code="IncorrectState")
    kind = instance_types.find(tx, instance.instance_type)
    if kind is None:
        raise InvalidParameter(f"Invalid value '{instance.instance_type}' for InstanceType.")
    settled = settle(kind, asked)
    instance.vcpus, instance.threads_per_core = settled.vcpus, settled.threads_per_core
    desired_state.refresh_instance(tx, instance.id)
    return instance
