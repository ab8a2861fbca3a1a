"""The plan of a rig: number of hosts, addresses, state directory; pure, and stored in `rig.json`."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any, Final

from stead_cli.cloud import RIG_FILE
from stead_cli.errors import CliError
from stead_cli.settings import Settings, replace_text

DEFAULT_DIR: Final = Path("/var/lib/stead-rig")
MOST_HOSTS: Final = 32
_LETTERS: Final = "abcdef"  # of zones
MOST_ZONES: Final = len(_LETTERS)
# VXLAN over IPv4 adds 50 bytes to what guests send: Ethernet 14, VXLAN 8, UDP 8, IP 20 (RFC 7348).
VXLAN_BYTES: Final = 50
_LEAST_MTU, _MOST_MTU = 1280 + VXLAN_BYTES, 65535
_INTERNET_MTU: Final = 1500

# Places and their bridges, and the hosts' links to them.
UNDERLAY: Final = "underlay"
INTERNET: Final = "internet"
UPLINK: Final = "uplink"  # a host's link to the internet; the other link is named after the place that it leads to

# Remote addresses in the rig's internet, outside all its subnets (RFC 5737, TEST-NET-2 and -3; RFC 3849).
FAR_ADDRESSES: Final = ("198.51.100.1", "203.0.113.1")
FAR_IPV6_ADDRESS: Final = "2001:db8::1"
# The pool of the VPCs' IPv6 blocks; hosts answer for these addresses on their uplinks.
IPV6_POOL: Final = "fd73:7465::/32"
IPV6_GATEWAY: Final = "fe80::1"  # the internet, for hosts and the caller
IPV6_INTERNET: Final = IPv6Network("2001:db8:1::/64")  # hosts' uplinks
CALLER_IPV6_ADDRESS: Final = "2001:db8:ca11::1"


@dataclass(frozen=True, slots=True)
class RigPlan:
    """A rig: its folder and the options of `rig up`."""

    folder: Path = DEFAULT_DIR
    hosts: int = 3
    mtu: int = 1600  # of the underlay
    network: str = "198.19.0.0/16"  # the rig's own addresses are taken from it
    pools: str = ""  # storage pools, separated by spaces: POOL for all hosts, or NUMBER=POOL for one
    zones: int = 1  # in which hosts are in turn

    # --- addresses: the network's first half is the internet, with the public pool in it; its last /24 the underlay

    @property
    def internet(self) -> IPv4Network:
        """The subnet of the internet: hosts' uplinks, public addresses of instances, servers of tests."""
        return next(IPv4Network(self.network).subnets(1))

    @property
    def gateway(self) -> IPv4Address:
        """The internet's own address in its subnet: the hosts' default gateway."""
        return self.internet[1]

    @property
    def api_address(self) -> IPv4Address:
        """Where guests reach the AWS APIs: the controller's own address on the internet."""
        return self.internet[2]

    @property
    def public_pool(self) -> IPv4Network:
        """Public addresses of instances: the second half of the internet's subnet."""
        return list(self.internet.subnets(1))[1]

    @property
    def underlay(self) -> IPv4Network:
        """The subnet between hosts and controller."""
        return list(IPv4Network(self.network).subnets(new_prefix=24))[-1]

    @property
    def controller_address(self) -> IPv4Address:
        """Where the controller listens."""
        return self.underlay[1]

    @property
    def caller_underlay_address(self) -> IPv4Address:
        """The caller's own address towards the controller."""
        return self.underlay[254]

    @property
    def caller_internet_address(self) -> IPv4Address:
        """The caller's own address towards the internet: what guests see of the caller."""
        return list(IPv4Network(self.network).subnets(1))[1][1]

    def host_underlay_address(self, number: int) -> IPv4Address:
        """A host's address on the underlay."""
        return self.underlay[10 + number]

    def host_uplink_address(self, number: int) -> IPv4Address:
        """A host's address on the internet."""
        return self.internet[10 + number]

    def host_ipv6_address(self, number: int) -> IPv6Address:
        """A host's IPv6 address on the internet."""
        return IPV6_INTERNET[10 + number]

    # --- sizes

    @property
    def guest_mtu(self) -> int:
        """The MTU of guests, whose packets must pass the underlay unfragmented."""
        return min(_INTERNET_MTU, self.mtu - VXLAN_BYTES)

    # --- names and places

    @property
    def numbers(self) -> range:
        """The hosts' numbers, from 1."""
        return range(1, self.hosts + 1)

    @property
    def controller_link(self) -> str:
        """The link in the caller's namespace that leads to the controller."""
        return f"rig{self._digest}c"

    @property
    def internet_link(self) -> str:
        """The link in the caller's namespace that leads to the internet."""
        return f"rig{self._digest}i"

    @property
    def _digest(self) -> str:
        return hashlib.sha256(str(self.folder).encode()).hexdigest()[:8]

    @property
    def cloud(self) -> Settings:
        """The settings of the rig's cloud; it has the default ports, since it has a network namespace of its own."""
        return Settings(
            self.folder,
            listen=str(self.controller_address),
            guest_address=str(self.api_address),
            public_pool=str(self.public_pool),
            zones=_LETTERS[: self.zones],
        )

    def host_dir(self, number: int) -> Path:
        """All state of a host."""
        return self.folder / "hosts" / str(number)

    def host_settings(self, number: int) -> Settings:
        """The settings of a host's agent, as of a single-machine cloud: its state directory is the host's folder."""
        return replace(self.cloud, state_dir=self.host_dir(number), uplink=UPLINK, pools=self.host_pools(number))

    def host_zone(self, number: int) -> str:
        """The zone of a host: one after the other, and the first again after the last."""
        names = self.cloud.zone_names
        return names[(number - 1) % len(names)]

    def host_pools(self, number: int) -> str:
        """A host's storage pools, as its agent's option takes them, separated by spaces."""
        return " ".join(pool for owner, pool in _pools(self.pools) if owner in ("", str(number)))

    @property
    def memory_file(self) -> Path:
        """The file with the options of the last `rig up`."""
        return self.folder / RIG_FILE

    def remember(self) -> None:
        """Store the options of this rig for later commands."""
        remembered = {name: value for name, value in asdict(self).items() if name != "folder"}
        replace_text(self.memory_file, json.dumps(remembered, indent=2) + "\n")


_POOL: Final = re.compile(r"(?:([0-9]+)=)?(\S+)")
_BACKENDS: Final = {
    "directory": "NAME:directory:/PATH",
    "lvm": "NAME:lvm:GROUP/THINPOOL",
    "rbd": "NAME:rbd:CEPHPOOL@/PATH/TO/CEPH.CONF",
}
_CHOICES: Final = tuple(field.name for field in fields(RigPlan) if field.name != "folder")


def folder_of(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder of the rig: `STEAD_RIG_DIR`, or the default."""
    return Path(environment.get("STEAD_RIG_DIR") or DEFAULT_DIR).absolute()


def remembered(folder: Path) -> RigPlan | None:
    """The rig as it was last brought up, or None when there is none or its record cannot be read."""
    try:
        content = json.loads((folder / RIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    known: dict[str, Any] = {name: content[name] for name in _CHOICES if name in content}
    return RigPlan(folder, **known)


def chosen(folder: Path, choices: Mapping[str, Any]) -> RigPlan:
    """The rig to bring up: the options given now (None = not given), else the stored ones, else the defaults.

    Raises CliError for invalid options, and for another network or MTU than that of an existing rig.
    """
    before = remembered(folder)
    given = {name: value for name, value in choices.items() if value not in (None, ())}
    if isinstance(pools := given.get("pools"), tuple):
        given["pools"] = " ".join(pools)
    plan = replace(before or RigPlan(folder), **given)
    _check(plan)
    if before is not None:
        changed = [name for name in _CHOICES if name != "hosts" and getattr(plan, name) != getattr(before, name)]
        if changed or plan.hosts < before.hosts:
            what = ", ".join(changed) or "fewer hosts"
            pools = f", pools {before.pools}" if before.pools else ""
            raise CliError(
                f"the rig in {folder} is there with {before.hosts} hosts, zones {before.zones}, "
                f"network {before.network}, MTU {before.mtu}{pools}",
                f"to change that ({what}): ./stead rig down; more hosts may be added at any time",
            )
    return plan


def _check(plan: RigPlan) -> None:
    if not 1 <= plan.hosts <= MOST_HOSTS:
        raise CliError(f"a rig has 1 to {MOST_HOSTS} hosts, not {plan.hosts}")
    if not 1 <= plan.zones <= min(MOST_ZONES, plan.hosts):
        raise CliError(f"{plan.hosts} hosts are in 1 to {min(MOST_ZONES, plan.hosts)} zones, not {plan.zones}")
    if not _LEAST_MTU <= plan.mtu <= _MOST_MTU:
        raise CliError(f"an underlay's MTU is {_LEAST_MTU} to {_MOST_MTU}, not {plan.mtu}")
    try:
        network = IPv4Network(plan.network)
    except ValueError as error:
        raise CliError(f"{plan.network} is no IPv4 network: {error}", "such as 198.19.0.0/16") from error
    if not 16 <= network.prefixlen <= 20:
        raise CliError(f"a rig's network is a /16 to a /20, not {plan.network}")
    _check_pools(plan)


def _check_pools(plan: RigPlan) -> None:
    """Raise CliError for a pool of a host that does not exist, and for a place that several hosts cannot share."""
    taken: set[str] = set()
    for owner, pool in _pools(plan.pools):
        if owner and int(owner) not in plan.numbers:
            raise CliError(f"{owner}={pool}: the rig has hosts 1 to {plan.hosts}")
        _name, backend, place = (*pool.split(":"), "", "")[:3]
        if backend not in _BACKENDS:
            raise CliError(f"{pool} is no pool: {', '.join(_BACKENDS.values())}")
        where = f"{backend}:{place.rstrip('/')}"
        if backend != "rbd" and (where in taken or (not owner and plan.hosts > 1)):
            raise CliError(f"{pool} can be one host's alone", f"such as 1={pool}, and another place for another host")
        taken.add(where)


def _pools(text: str) -> list[tuple[str, str]]:
    """Split pools into pairs: the number of the host that has it, or an empty string, and the pool."""
    return [(owner, pool) for owner, pool in _POOL.findall(text)]
