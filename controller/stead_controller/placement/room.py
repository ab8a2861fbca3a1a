"""What placement knows of a host."""

from typing import NamedTuple

from stead_controller.placement.cores import Node
from stead_controller.placement.devices import Device


class Room(NamedTuple):
    """A host with its free capacity, after overcommit and what it reserves for itself; negative after it shrank.

    `threads` is its number of hardware threads, `accelerated` whether guests of its own `architecture` run with KVM
    instead of emulation, `emulates` the other architectures that it runs, separated by spaces,
    `pool_free` the bytes of volumes that its roomiest pool still takes, None where it has reported no pools, and
    `store_free` those of instance store that its default pool takes, None also where no instance store is needed.
    `has_image` is whether it has the blocks already with which the instance's root volume begins. `rack` is the host's
    id where the operator named none. `owner` is the account whose instances alone may be there, empty where all may,
    `dedicated_host_id` that of its Dedicated Host, and `empty` whether nothing has room reserved there. `devices` and
    `nodes` are read only if the instance needs some, or whole cores.
    """

    host_id: str
    zone: str
    cpus_free: int
    memory_free: int
    threads: int
    accelerated: bool = False
    state: str = "up"
    schedulable: bool = True
    architecture: str = "x86_64"
    emulates: str = ""
    uefi: bool = False
    tpm: bool = False
    pool_free: float | None = None
    store_free: float | None = None
    has_image: bool = False
    rack: str = ""
    owner: str = ""
    dedicated_host_id: str = ""
    empty: bool = True
    devices: tuple[Device, ...] = ()
    nodes: tuple[Node, ...] = ()

    def runs(self, architecture: str) -> bool:
        """Tell whether guests of an architecture run there."""
        return architecture == self.architecture or architecture in self.emulates.split()
