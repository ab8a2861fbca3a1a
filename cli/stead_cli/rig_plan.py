"""What a rig is made of: how many hosts, which addresses, where its state is; pure, and remembered in `rig.json`."""

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
# VXLAN over IPv4 adds 50 bytes to what guests send: Ethernet 14, VXLAN 8, UDP 8, IP 20 (RFC 7348).
VXLAN_BYTES: Final = 50
_LEAST_MTU, _MOST_MTU = 1280 + VXLAN_BYTES, 65535
_INTERNET_MTU: Final = 1500

# Places and their bridges, and the hosts' links to them.
UNDERLAY: Final = "underlay"
INTERNET: Final = "internet"
UPLINK: Final = "uplink"  # a host's link to the internet; the other is named as what it leads to

# Addresses far out in the rig's internet, beyond every subnet of it (RFC 5737, TEST-NET-2 and -3; RFC 3849).
FAR_ADDRESSES: Final = ("198.51.100.1", "203.0.113.1")
FAR_IPV6_ADDRESS: Final = "2001:db8::1"
# Of which VPCs have their IPv6 blocks; hosts answer for the addresses on their uplinks.
IPV6_POOL: Final = "fd73:7465::/32"
IPV6_GATEWAY: Final = "fe80::1"  # the internet, for hosts and the caller
IPV6_INTERNET: Final = IPv6Network("2001:db8:1::/64")  # hosts' uplinks
CALLER_IPV6_ADDRESS: Final = "2001:db8:ca11::1"


@dataclass(frozen=True, slots=True)
class RigPlan:
    """A rig: its folder and the choices that `rig up` may be given."""

    folder: Path = DEFAULT_DIR
    hosts: int = 3
    mtu: int = 1600  # of the underlay
    network: str = "198.19.0.0/16"  # what the rig's own addresses are taken from
    pools: str = ""  # places for volumes, with spaces in between: POOL of all hosts, or NUMBER=POOL of one

    # --- addresses: the network's first half is the internet, with the public pool in it; its last /24 the underlay

    @property
    def internet(self) -> IPv4Network:
        """The subnet outside: hosts' uplinks, public addresses of instances, servers of tests."""
        return next(IPv4Network(self.network).subnets(1))

    @property
    def gateway(self) -> IPv4Address:
        """The internet's own address in its subnet: hosts' default route."""
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
        """What guests' packets may have so that they fit through the underlay in one piece."""
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
        """The rig's cloud, as every command knows one; its ports are its own, since its namespace is."""
        return Settings(
            self.folder,
            listen=str(self.controller_address),
            guest_address=str(self.api_address),
            public_pool=str(self.public_pool),
        )

    def host_dir(self, number: int) -> Path:
        """All state of a host."""
        return self.folder / "hosts" / str(number)

    def host_settings(self, number: int) -> Settings:
        """A host's agent as the single-machine cloud's: its state directory is the host's folder."""
        return replace(self.cloud, state_dir=self.host_dir(number), uplink=UPLINK, pools=self.host_pools(number))

    def host_pools(self, number: int) -> str:
        """A host's places for volumes, as its agent takes them, with spaces in between."""
        return " ".join(pool for owner, pool in _pools(self.pools) if owner in ("", str(number)))

    @property
    def memory_file(self) -> Path:
        """What `rig up` ran with last."""
        return self.folder / RIG_FILE

    def remember(self) -> None:
        """Let later commands find this rig's choices."""
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
    """Where the rig is: `STEAD_RIG_DIR`, or the default."""
    return Path(environment.get("STEAD_RIG_DIR") or DEFAULT_DIR).absolute()


def remembered(folder: Path) -> RigPlan | None:
    """The rig as it was last brought up, or None when there is none, or no record that can be read."""
    try:
        content = json.loads((folder / RIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    known: dict[str, Any] = {name: content[name] for name in _CHOICES if name in content}
    return RigPlan(folder, **known)


def chosen(folder: Path, choices: Mapping[str, Any]) -> RigPlan:
    """The rig to bring up: what is chosen now (None = nothing), else as remembered, else by default.

    Raises CliError for what cannot be, and for another network or MTU than that of a rig that is there.
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
                f"the rig in {folder} is there with {before.hosts} hosts, network {before.network}, MTU {before.mtu}"
                f"{pools}",
                f"to change that ({what}): ./stead rig down; more hosts may be added at any time",
            )
    return plan


def _check(plan: RigPlan) -> None:
    if not 1 <= plan.hosts <= MOST_HOSTS:
        raise CliError(f"a rig has 1 to {MOST_HOSTS} hosts, not {plan.hosts}")
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
    """Raise CliError for a pool of a host that is not there, and where hosts would meet in what can be only one's."""
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
    """Take pools apart: the number of the host that has it, or nothing, and the pool."""
    return [(owner, pool) for owner, pool in _POOL.findall(text)]
