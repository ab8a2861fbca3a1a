"""The agent's settings: one frozen value from options, STEAD_* variables and defaults."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast

from stead_proto import traces

DEFAULT_STATE_DIR: Final = Path("/var/lib/stead/agent")
DEFAULT_RUN_DIR: Final = Path("/run/stead/agent")
DEFAULT_NETNS_DIR: Final = Path("/run/netns")  # where `ip netns` looks: ip-netns(8)
DEFAULT_LIBVIRT_URI: Final = "qemu:///system"
DESIRED_FILE: Final = "desired.sqlite"  # in the state directory


DEFAULT_POOL: Final = "default"
_POOL: Final = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9-]{0,62}):(?P<backend>directory|lvm|rbd):(?P<place>[^:]+)(:(?P<types>[a-z0-9,]+))?\Z"
)
_PLACES: Final = {
    "directory": re.compile(r"/[^:]*\Z"),
    "lvm": re.compile(r"[^/]+/[^/]+\Z"),
    "rbd": re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}(@/[^:]+)?\Z"),
}
type Backend = Literal["directory", "lvm", "rbd"]


class PoolSettingError(ValueError):
    """This text describes no storage pool."""


@dataclass(frozen=True, slots=True)
class PoolSetting:
    """A storage pool; `place` is a directory, a volume group and its thin pool, or a Ceph pool."""

    name: str
    backend: Backend
    place: str
    volume_types: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "PoolSetting":
        """Parse a pool as given on the command line; raises PoolSettingError."""
        found = _POOL.match(text)
        if found is None or not _PLACES[found["backend"]].match(found["place"]):
            raise PoolSettingError(
                f"{text!r} is not NAME:directory:/PATH, NAME:lvm:GROUP/THINPOOL or NAME:rbd:POOL@/PATH/TO/CEPH.CONF, "
                "with :TYPE,TYPE"
            )
        types = tuple(found["types"].split(",")) if found["types"] else ()
        return cls(found["name"], cast("Backend", found["backend"]), found["place"], types)


class DeviceSettingError(ValueError):
    """This text names no PCI devices."""


_DEVICE: Final = re.compile(r"((?P<domain>[0-9a-f]{4,8}):)?(?P<slot>[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])\Z")
_MODEL: Final = re.compile(r"[0-9a-f]{4}:[0-9a-f]{4}\Z")


def parse_device(text: str) -> str:
    """Parse what names PCI devices that guests may have: an address, or vendor:device; raises DeviceSettingError."""
    lower = text.lower()
    found = _DEVICE.match(lower)
    if found is not None:
        return f"{found['domain'] or '0000'}:{found['slot']}"
    if _MODEL.match(lower):
        return lower
    raise DeviceSettingError(f"{text!r} is neither a PCI address such as 0000:01:00.0 nor a model such as 10de:1eb8")


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of this host."""

    state_dir: Path = DEFAULT_STATE_DIR  # certificate, desired state, disks, consoles
    run_dir: Path = DEFAULT_RUN_DIR  # sockets and process ids, lost in a reboot
    netns_dir: Path = DEFAULT_NETNS_DIR  # names of the VPCs' namespaces; used by one agent only
    controllers: tuple[str, ...] = ("127.0.0.1:8775",)  # host:port, tried in turn
    libvirt_uri: str = DEFAULT_LIBVIRT_URI
    uplink: str = "auto"  # "auto" (the default route's link), "none" or a link's name
    underlay_address: str = ""  # where other hosts reach this one; empty: the default route's address
    host_ports: tuple[int, ...] = ()  # TCP ports of the AWS APIs at the host's pool address, open to guests
    guest_address: str = ""  # another address of the host whose `host_ports` guests may reach
    mtu: int = 1500  # of guests' links
    memory: int = 0  # bytes that this host offers to guests; 0 = all that the machine has
    proof_image: Path | None = None  # a micro image that is booted once to prove KVM
    dns_upstreams: tuple[str, ...] = ()  # resolvers for external names; empty: those of this host
    pools: tuple[PoolSetting, ...] = ()  # storage pools besides the state directory
    devices: tuple[str, ...] = ()  # PCI devices that guests may have: addresses, or vendor:device
    whole_cores: tuple[int, ...] = ()  # hardware threads of the cores that guests may have alone
    prometheus_listen: str = "127.0.0.1"  # address of the page of the agent's metrics of itself
    prometheus_port: int = 0  # its port; 0: there is none
    traces_endpoint: str = ""  # URL of a server for traces, by OTLP over HTTP; empty: none are made
    traces_ca_file: Path | None = None  # of the authority of that server's certificate
    traces_headers_file: Path | None = None  # headers that it wants
    removal_grace_seconds: float = 5.0  # time for a guest to shut down when its machine is removed
    stop_grace_seconds: float = 90.0  # time for a guest to shut down when it is stopped

    @property
    def traces(self) -> traces.Settings:
        """Where traces go: which calls are traced is the controller's to say."""
        return traces.Settings(self.traces_endpoint, 1.0, self.traces_ca_file, self.traces_headers_file)

    @property
    def desired_file(self) -> Path:
        """The file that stores the desired state."""
        return self.state_dir / DESIRED_FILE
