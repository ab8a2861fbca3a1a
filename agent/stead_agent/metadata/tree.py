"""Convert a guest's data into the paths it may read: `meta-data/ami-id` -> `ami-0123…`, directories included.

Names and values are those of the category tables at
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-metadata.html (instancedata-data-categories). Directory
listings are derived from the leaves, so everything listed can be read: cloud-init retries for minutes on a listed path
that answers 404. `versions.py` decides which paths an old version shows.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final
from urllib.parse import unquote

from stead_agent.metadata import role
from stead_agent.metadata.interface import Guest, GuestInterface, MaintenanceEvent, PushedKey, Role
from stead_agent.metadata.versions import LATEST, VERSIONS, listed

_KNOWN_VERSIONS: Final = frozenset(VERSIONS)
_SLASHES: Final = re.compile(r"/{2,}")
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f]")
# "Can only include letters, numbers and + - = . , _ : @", and not be one of three reserved words
# (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/work-with-tags-in-IMDS.html). EC2 refuses other keys when tags
# are shown; if one arrives here nevertheless, it is not shown.
_TAG_KEY: Final = re.compile(r"[A-Za-z0-9+\-=.,_:@]{1,128}")
_NOTICE_SECONDS: Final = 120  # between the notice that a Spot Instance ends and its end
_RESERVED_TAG_KEYS: Final = frozenset({".", "..", "_index"})


def entries(guest: Guest, pushed: Sequence[PushedKey] = ()) -> dict[str, bytes]:
    """List all that a guest can read below a version: leaves and directories, both without a trailing slash."""
    keys = [key for key in guest.public_keys if key.openssh]
    leaves = {path: value for path, value in _leaves(guest) if value}
    # The only value that ends with a newline, as on EC2: guests append it to authorized_keys.
    lines = (f"{key.openssh.rstrip()}\n".encode() for key in keys)
    leaves |= {f"meta-data/public-keys/{number}/openssh-key": line for number, line in enumerate(lines)}
    leaves |= {f"meta-data/tags/instance/{key}": value for key, value in _tags(guest)}
    leaves |= {f"meta-data/managed-ssh-keys/active-keys/{user}": value for user, value in _pushed(guest, pushed)}
    if guest.user_data is not None:
        leaves["user-data"] = guest.user_data
    listings = {path: "\n".join(names).encode() for path, names in _listings(leaves).items()}
    # The top level is shown without slashes, and key pairs as number=name.
    listings[""] = listings[""].replace(b"/", b"")
    if keys:
        names = (f"{number}={_one_line(key.name)}" for number, key in enumerate(keys))
        listings["meta-data/public-keys"] = "\n".join(names).encode()
    return leaves | listings


def role_entries(shown: Role) -> dict[str, bytes]:
    """Return the leaves that describe a guest's role."""
    return {f"meta-data/{path}": text.encode() for path, text in role.leaves(shown)}


def find(known: dict[str, bytes], path: str, first: Mapping[str, str] | None = None) -> bytes | None:
    """Look up a normal path among a guest's entries; None = there is no such path.

    `first` gives the version since which each path exists (`first_versions`); without it every version shows all.
    """
    version, _, rest = path.partition("/")
    if not version:
        return "\n".join(VERSIONS).encode()
    body = known.get(rest) if version in _KNOWN_VERSIONS else None
    if body is None or first is None or version == LATEST:
        return body
    if first.get(rest, LATEST) > version:
        return None
    return listed(rest, body, version, first) if _is_directory(known, rest, body) else body


def _is_directory(known: dict[str, bytes], path: str, body: bytes) -> bool:
    """Tell whether a value is a directory listing: the first name in it is a path as well."""
    name = body.partition(b"\n")[0].decode("utf-8", "replace").rstrip("/")
    return (f"{path}/{name}" if path else name) in known


def normal_path(target: str) -> str | None:
    """Return the path of a request target without outer and doubled slashes; None when its escapes are no UTF-8.

    Extra slashes are accepted as in EC2: scripts join the listing of `macs/` (`0e:…/`) to `/subnet-id`.
    """
    path = target.partition("?")[0]
    if "%" in path:
        try:
            path = unquote(path, errors="strict")
        except UnicodeDecodeError:
            return None
    return _SLASHES.sub("/", path).strip("/")


def _leaves(guest: Guest) -> Iterator[tuple[str, bytes]]:
    """Return every leaf with its value; an empty value means that the guest has no such leaf."""
    yield "dynamic/fws/instance-monitoring", b"enabled" if guest.monitoring else b"disabled"
    if guest.identity:
        # One key signs both: `rsa2048` is a message by an RSA key with SHA-256, which `pkcs7` may be as well.
        yield "dynamic/instance-identity/document", guest.identity.document.encode()
        yield "dynamic/instance-identity/pkcs7", guest.identity.pkcs7.encode()
        yield "dynamic/instance-identity/rsa2048", guest.identity.pkcs7.encode()
        yield "dynamic/instance-identity/signature", guest.identity.signature.encode()
    # What EC2's instances learn from their NVMe controllers: by which name each volume is attached.
    for volume_id, name in guest.volumes.items():
        yield f"dynamic/stead/volumes/{volume_id}", name.encode()
    for path, text in (*_instance_leaves(guest), *_interruption_leaves(guest)):
        yield f"meta-data/{path}", text.encode()
    if guest.role:
        yield from role_entries(guest.role).items()
    for path, text in _device_leaves(guest):
        yield f"meta-data/block-device-mapping/{path}", text.encode()
    for interface in guest.interfaces:
        base = f"meta-data/network/interfaces/macs/{interface.mac_address.lower()}"
        for path, text in _interface_leaves(guest, interface):
            yield f"{base}/{path}", text.encode()


def _instance_leaves(guest: Guest) -> Iterator[tuple[str, str]]:
    """Return the leaves about the instance as a whole."""
    yield "ami-id", guest.image_id
    yield "ami-launch-index", str(guest.launch_index)
    yield "ami-manifest-path", "(unknown)"
    yield "autoscaling/target-lifecycle-state", guest.target_lifecycle_state
    yield "events/maintenance/history", _events(each for each in guest.events if each.state != "active")
    yield "events/maintenance/scheduled", _events(each for each in guest.events if each.state == "active")
    yield "hibernation/configured", "true" if guest.hibernation else "false"
    yield "hostname", guest.hostname
    yield "instance-action", "none"
    yield "instance-id", guest.instance_id
    yield "instance-life-cycle", "spot" if guest.spot else "on-demand"
    yield "instance-type", guest.instance_type
    yield "local-hostname", guest.hostname
    yield "metrics/vhostmd", '<?xml version="1.0" encoding="UTF-8"?>'
    yield "placement/availability-zone", guest.availability_zone
    yield "placement/availability-zone-id", guest.availability_zone_id
    yield "placement/group-name", guest.placement_group
    yield "placement/host-id", guest.host_id
    yield "placement/partition-number", str(guest.partition_number or "")
    yield "placement/region", guest.region
    yield "profile", "default-hvm"
    yield "public-hostname", guest.public_hostname
    yield "reservation-id", guest.reservation_id
    yield "security-groups", "\n".join(map(_one_line, guest.security_groups))
    yield "services/domain", guest.domain
    yield "services/partition", guest.partition
    yield "system", "nitro"
    yield "identity-credentials/ec2/info", _account_info(guest)
    if guest.identity_role and guest.identity_role.secret_access_key:
        text = role.credentials(guest.identity_role)
        yield f"identity-credentials/ec2/security-credentials/{guest.identity_role.name}", text
    primary = _primary(guest)
    if primary:
        yield "local-ipv4", primary.private_addresses[0] if primary.private_addresses else ""
        yield "ipv6", primary.ipv6_addresses[0] if primary.ipv6_addresses else ""
        yield "mac", primary.mac_address.lower()
        yield "public-ipv4", _public_address(primary)


def _interruption_leaves(guest: Guest) -> Iterator[tuple[str, str]]:
    """Return the notice of a Spot Instance's end, which is given two minutes before it.

    See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html. The recommendation
    to rebalance comes at the same moment, as it may on EC2.
    """
    if guest.interruption_time is None:
        return
    end = _time(guest.interruption_time)
    notice = _time(guest.interruption_time - _NOTICE_SECONDS)
    yield "events/recommendations/rebalance", json.dumps({"noticeTime": notice})
    yield "spot/instance-action", json.dumps({"action": "terminate", "time": end})
    yield "spot/termination-time", end


def _account_info(guest: Guest) -> str:
    """Return the instance's account, in the JSON form of a role's information."""
    info = {"Code": "Success", "LastUpdated": _time(guest.pending_time), "AccountId": guest.account_id}
    return json.dumps(info, indent=2, separators=(",", " : "))


def _events(events: Iterable[MaintenanceEvent]) -> str:
    """Return maintenance events in EC2's JSON form, an empty list where there are none."""
    shown = [
        {
            "NotBefore": datetime.fromtimestamp(each.not_before, UTC).strftime("%d %b %Y %H:%M:%S GMT"),
            "Code": each.code,
            "Description": each.description,
            "EventId": each.id,
            "State": each.state,
        }
        for each in events
    ]
    return json.dumps(shown, indent=2, separators=(",", " : "))


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _device_leaves(guest: Guest) -> Iterator[tuple[str, str]]:
    """Return the block device mapping; ebs and ephemeral devices are numbered from 1 and from 0 as in EC2."""
    yield "ami", guest.root_device_name
    yield "root", guest.root_device_name
    for number, name in enumerate(guest.ebs_device_names, 1):
        yield f"ebs{number}", name
    for number, name in enumerate(guest.ephemeral_device_names):
        yield f"ephemeral{number}", name


def _interface_leaves(guest: Guest, interface: GuestInterface) -> Iterator[tuple[str, str]]:
    """Return the leaves below network/interfaces/macs/<mac>."""
    names = interface.security_groups or (guest.security_groups if interface.device_index == 0 else ())
    yield "device-number", str(interface.device_index)
    yield "interface-id", interface.interface_id
    yield "ipv6s", "\n".join(interface.ipv6_addresses)
    yield "local-hostname", interface.private_dns_name
    yield "local-ipv4s", "\n".join(interface.private_addresses)
    yield "mac", interface.mac_address.lower()
    yield "owner-id", guest.account_id
    yield "public-hostname", interface.public_dns_name
    yield "public-ipv4s", "\n".join(pair.public_address for pair in interface.public_addresses)
    yield "security-group-ids", "\n".join(interface.security_group_ids)
    yield "security-groups", "\n".join(map(_one_line, names))
    yield "subnet-id", interface.subnet_id
    yield "subnet-ipv4-cidr-block", interface.subnet_cidr_block
    yield "subnet-ipv6-cidr-blocks", interface.subnet_ipv6_cidr_block
    yield "vpc-id", interface.vpc_id
    yield "vpc-ipv4-cidr-block", interface.vpc_cidr_blocks[0] if interface.vpc_cidr_blocks else ""
    yield "vpc-ipv4-cidr-blocks", "\n".join(interface.vpc_cidr_blocks)
    yield "vpc-ipv6-cidr-blocks", "\n".join(interface.vpc_ipv6_cidr_blocks)
    privates: dict[str, list[str]] = {}
    for pair in interface.public_addresses:
        privates.setdefault(pair.public_address, []).append(pair.private_address)
    for public, addresses in privates.items():
        yield f"ipv4-associations/{public}", "\n".join(addresses)


def _tags(guest: Guest) -> Iterator[tuple[str, bytes]]:
    """Return the tags to be shown; unlike other leaves a tag may be empty."""
    if guest.options.instance_metadata_tags:
        for key, value in guest.tags.items():
            if _TAG_KEY.fullmatch(key) and key not in _RESERVED_TAG_KEYS:
                yield key, value.encode()


def _pushed(guest: Guest, keys: Sequence[PushedKey]) -> Iterator[tuple[str, bytes]]:
    """Return the pushed keys of each user, in EC2's form but for its signatures.

    Facts of a key are comments before it, so that the whole is a file of authorized keys (sshd(8)) as well.
    """
    for user in dict.fromkeys(key.os_user for key in keys):
        parts = (
            f"#Timestamp={key.expires}\n#Instance={guest.instance_id}\n#Caller={key.caller}\n"
            f"#Request={key.request_id}\n{key.openssh}\n\n"
            for key in keys
            if key.os_user == user
        )
        yield user, "".join(parts).encode()


def _listings(leaves: dict[str, bytes]) -> dict[str, list[str]]:
    """List each directory above the leaves: its names in order, those of directories with a slash at the end."""
    found: dict[str, set[str]] = {"": set()}
    for leaf in leaves:
        above, _, name = leaf.rpartition("/")
        while name not in found.setdefault(above, set()):
            found[above].add(name)
            if not above:
                break
            above, _, name = above.rpartition("/")
            name += "/"
    return {path: sorted(names) for path, names in found.items()}


def _primary(guest: Guest) -> GuestInterface | None:
    """Return the interface whose addresses are the guest's own: the one with the lowest device index."""
    with_address = (each for each in guest.interfaces if each.private_addresses or each.ipv6_addresses)
    return min(with_address, key=lambda interface: interface.device_index, default=None)


def _public_address(interface: GuestInterface) -> str:
    """Return the public address of the interface's primary private address, or "" when there is none."""
    for pair in interface.public_addresses:
        if pair.private_address in interface.private_addresses[:1]:
            return pair.public_address
    return ""


def _one_line(text: str) -> str:
    """Make sure that a name cannot look like two lines of a listing."""
    return _CONTROLS.sub(" ", " ".join(text.splitlines()))
