"""What a guest can read, and that all it is shown can be read."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stead_agent.metadata.interface import Guest, Identity, Options, PublicAddress, PublicKey
from stead_agent.metadata.tree import entries, find, normal_path
from stead_agent.metadata.versions import VERSIONS
from tests.support.metadata_guests import guest, interface

MACS = "latest/meta-data/network/interfaces/macs"


def read(who: Guest, target: str) -> str | None:
    path = normal_path(target)
    body = None if path is None else find(entries(who), path)
    return None if body is None else body.decode()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("ami-id", "ami-0123456789abcdef0"),
        ("ami-launch-index", "0"),
        ("ami-manifest-path", "(unknown)"),
        ("block-device-mapping/", "ami\nroot"),
        ("block-device-mapping/ami", "/dev/sda1"),
        ("block-device-mapping/root", "/dev/sda1"),
        ("events/maintenance/history", "[]"),
        ("events/maintenance/scheduled", "[]"),
        ("hostname", "ip-172-31-0-5.ec2.internal"),
        ("instance-action", "none"),
        ("instance-id", "i-0123456789abcde00"),
        ("instance-life-cycle", "on-demand"),
        ("instance-type", "t3.micro"),
        ("local-hostname", "ip-172-31-0-5.ec2.internal"),
        ("local-ipv4", "172.31.0.5"),
        ("mac", "0e:49:61:0f:c3:00"),
        ("metrics/vhostmd", '<?xml version="1.0" encoding="UTF-8"?>'),
        ("network/interfaces/macs/", "0e:49:61:0f:c3:00/"),
        ("placement/", "availability-zone\nregion"),
        ("placement/availability-zone", "us-east-1a"),
        ("placement/region", "us-east-1"),
        ("profile", "default-hvm"),
        ("public-hostname", "ec2-203-0-113-25.compute-1.amazonaws.com"),
        ("public-ipv4", "203.0.113.25"),
        ("public-keys/", "0=my key"),
        ("public-keys/0/", "openssh-key"),
        ("public-keys/0/openssh-key", "ssh-ed25519 AAAAC3Nz my key\n"),
        ("reservation-id", "r-0123456789abcdef0"),
        ("security-groups", "default\nweb servers"),
        ("services/domain", "amazonaws.com"),
        ("services/partition", "aws"),
        ("system", "nitro"),
        ("iam/", None),
        ("iam/security-credentials/", None),
        ("tags/", None),
        ("tags/instance/", None),
        ("ami", None),
        ("public-keys/1/openssh-key", None),
    ],
)
def test_values(path: str, value: str | None) -> None:
    assert read(guest(), f"/latest/meta-data/{path}") == value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (
            "",
            (
                "device-number\ninterface-id\nipv4-associations/\nlocal-hostname\nlocal-ipv4s\nmac\nowner-id\n"
                "public-hostname\npublic-ipv4s\nsecurity-group-ids\nsecurity-groups\nsubnet-id\nsubnet-ipv4-cidr-block\n"
                "vpc-id\nvpc-ipv4-cidr-block\nvpc-ipv4-cidr-blocks"
            ),
        ),
        ("device-number", "0"),
        ("interface-id", "eni-0123456789abcde00"),
        ("ipv4-associations/", "203.0.113.25"),
        ("ipv4-associations/203.0.113.25", "172.31.0.5"),
        ("local-ipv4s", "172.31.0.5"),
        ("owner-id", "123456789012"),
        ("public-ipv4s", "203.0.113.25"),
        ("security-group-ids", "sg-0123456789abcdef0"),
        ("security-groups", "default\nweb servers"),
        ("subnet-id", "subnet-0123456789abcdef0"),
        ("subnet-ipv4-cidr-block", "172.31.0.0/20"),
        ("vpc-id", "vpc-0123456789abcdef0"),
        ("vpc-ipv4-cidr-block", "172.31.0.0/16"),
    ],
)
def test_values_of_an_interface(path: str, value: str) -> None:
    assert read(guest(), f"/latest/meta-data/network/interfaces/macs/0e:49:61:0f:c3:00/{path}") == value


def test_second_interface_adds_no_address_to_the_instance() -> None:
    first, second = interface(0, "172.31.0.5"), interface(1, "172.31.16.9")
    first = replace(first, private_addresses=("172.31.0.5", "172.31.0.6"))
    who = replace(guest(), interfaces=(second, first))
    assert read(who, "/latest/meta-data/local-ipv4") == "172.31.0.5"
    assert read(who, f"/{MACS}/") == "0e:49:61:0f:c3:00/\n0e:49:61:0f:c3:01/"
    assert read(who, f"/{MACS}/0e:49:61:0f:c3:00/local-ipv4s") == "172.31.0.5\n172.31.0.6"
    assert read(who, f"/{MACS}/0e:49:61:0f:c3:01/security-groups") is None
    assert read(who, f"/{MACS}/0e:49:61:0f:c3:01/public-ipv4s") is None


def test_public_address_of_a_secondary_address_is_not_the_instances() -> None:
    nic = replace(
        interface(),
        private_addresses=("172.31.0.5", "172.31.0.6"),
        public_addresses=(PublicAddress("203.0.113.7", "172.31.0.6"),),
    )
    who = replace(guest(), interfaces=(nic,), public_hostname="")
    assert read(who, "/latest/meta-data/public-ipv4") is None
    assert read(who, "/latest/meta-data/public-hostname") is None
    assert read(who, f"/{MACS}/0e:49:61:0f:c3:00/ipv4-associations/203.0.113.7") == "172.31.0.6"


def test_block_devices_are_numbered() -> None:
    who = replace(guest(), ebs_device_names=("/dev/sdf", "/dev/sdg"), ephemeral_device_names=("sdb",))
    assert read(who, "/latest/meta-data/block-device-mapping/") == "ami\nebs1\nebs2\nephemeral0\nroot"
    assert read(who, "/latest/meta-data/block-device-mapping/ebs2") == "/dev/sdg"
    assert read(who, "/latest/meta-data/block-device-mapping/ephemeral0") == "sdb"


def test_identity_is_shown_as_the_controller_signed_it() -> None:
    base = "/latest/dynamic/instance-identity"
    assert read(guest(), f"{base}/document") is None
    who = replace(guest(), identity=Identity('{\n  "region" : "us-east-1"\n}', "c2lnbmVk", "bWVzc2FnZQ=="))
    assert read(who, base) == "document\npkcs7\nrsa2048\nsignature"
    assert read(who, f"{base}/document") == '{\n  "region" : "us-east-1"\n}'
    assert read(who, f"{base}/signature") == "c2lnbmVk"
    assert read(who, f"{base}/pkcs7") == read(who, f"{base}/rsa2048") == "bWVzc2FnZQ=="


def test_account_info_is_json_as_that_of_a_role() -> None:
    text = read(guest(), "/latest/meta-data/identity-credentials/ec2/info")
    assert text is not None
    assert json.loads(text) == {"Code": "Success", "LastUpdated": "2016-11-19T16:32:11Z", "AccountId": "123456789012"}


def test_hibernation() -> None:
    assert [
        read(replace(guest(), hibernation=value), "/latest/meta-data/hibernation/configured") for value in (True, False)
    ] == ["true", "false"]


@pytest.mark.parametrize(("monitoring", "word"), [(True, "enabled"), (False, "disabled")])
def test_monitoring(monitoring: bool, word: str) -> None:
    who = replace(guest(), monitoring=monitoring)
    assert read(who, "/latest/dynamic/fws/instance-monitoring") == word


def test_versions() -> None:
    assert read(guest(), "/") == "\n".join(VERSIONS)
    for version in ("1.0", "2009-04-04", "2016-09-02", "2018-09-24", "2021-03-23", "latest"):
        assert read(guest(), f"/{version}/meta-data/instance-id") == "i-0123456789abcde00"
    for version in ("1999-01-01", "meta-data", "Latest", "..", "2021-03-2"):
        assert read(guest(), f"/{version}/meta-data/instance-id") is None
    assert read(guest(), "/latest") == "dynamic\nmeta-data"


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", bytes(range(256))])
def test_user_data_is_given_byte_by_byte(data: bytes) -> None:
    known = entries(replace(guest(), user_data=data))
    assert find(known, "latest/user-data") == data
    assert find(known, "latest") == b"dynamic\nmeta-data\nuser-data"


def test_guest_without_user_data_has_no_such_path() -> None:
    assert read(guest(), "/latest/user-data") is None


@pytest.mark.parametrize(
    "target",
    [
        "/latest/meta-data/network/interfaces/macs/0e:49:61:0f:c3:00//vpc-id",
        "//latest///meta-data/network/interfaces/macs/0e%3A49%3a61:0f:c3:00/vpc-id/",
        "/latest/meta-data/network/interfaces/macs/0e:49:61:0f:c3:00/vpc-id?x=/y",
    ],
)
def test_forgiven_spellings(target: str) -> None:
    assert read(guest(), target) == "vpc-0123456789abcdef0"


@pytest.mark.parametrize("target", ["/latest/%ff", "/latest/meta-data/../meta-data/ami-id", "/latest/meta-data/AMI-ID"])
def test_paths_that_are_none(target: str) -> None:
    assert read(guest(), target) is None


def test_escapes_that_are_no_utf8_are_no_path() -> None:
    assert normal_path("/latest/%ff") is None
    assert normal_path("/latest/%C3%A9%2f") == "latest/é"


def test_tags_are_shown_only_when_allowed() -> None:
    tags = {"Name": "web", "empty": "", "a=b": "c", "bad key": "x", "a/b": "x", "..": "x", "_index": "x", "ü": "x"}
    hidden = replace(guest(), tags=tags)
    assert read(hidden, "/latest/meta-data/tags/instance/Name") is None
    assert "tags" not in (read(hidden, "/latest/meta-data/") or "")
    shown = replace(hidden, options=Options(instance_metadata_tags=True))
    assert read(shown, "/latest/meta-data/tags/instance/") == "Name\na=b\nempty"
    assert read(shown, "/latest/meta-data/tags/instance/Name") == "web"
    assert read(shown, "/latest/meta-data/tags/instance/empty") == ""


def test_names_cannot_add_lines_to_a_listing() -> None:
    who = replace(guest(), public_keys=(PublicKey("a\n1=b", "ssh-rsa A"), PublicKey("empty", "")))
    assert read(who, "/latest/meta-data/public-keys/") == "0=a 1=b"
    nic = replace(interface(), security_groups=("web\r\nadmins", "bell\x07"))
    who = replace(guest(), security_groups=("web\nadmins", "nul\0"), interfaces=(nic,))
    assert read(who, "/latest/meta-data/security-groups") == "web admins\nnul "
    assert read(who, f"/{MACS}/0e:49:61:0f:c3:00/security-groups") == "web admins\nbell "


_text = st.text(max_size=12)
_guests = st.builds(
    lambda names, hostname, tags, keys, data, indexes, shown: replace(
        guest(),
        hostname=hostname,
        security_groups=tuple(names),
        tags=tags,
        public_keys=tuple(PublicKey(name, line) for name, line in keys),
        user_data=data,
        interfaces=tuple(interface(index, f"172.31.1.{index}") for index in indexes),
        options=Options(instance_metadata_tags=shown),
    ),
    st.lists(_text),
    _text,
    st.dictionaries(_text, _text),
    st.lists(st.tuples(_text, _text), max_size=3),
    st.none() | st.binary(max_size=20),
    st.sets(st.integers(0, 9), max_size=3),
    st.booleans(),
)


def _walk(known: dict[str, bytes], directory: str) -> set[str]:
    """Read all that is listed below a directory, as cloud-init does, and return the leaves."""
    listing = find(known, directory)
    assert listing, directory
    leaves: set[str] = set()
    for line in listing.decode().splitlines():
        name = line
        if directory.endswith("/public-keys"):
            name = line.split("=")[0] + "/openssh-key"
        path = f"{directory}/{name.rstrip('/')}"
        if name.endswith("/") or (directory == "latest" and name != "user-data"):
            leaves |= _walk(known, path)
        else:
            assert find(known, path) is not None, path
            leaves.add(path)
    return leaves


@settings(deadline=None)
@given(_guests)
def test_all_that_is_listed_can_be_read_and_all_that_can_be_read_is_listed(who: Guest) -> None:
    known = entries(who)
    leaves = _walk(known, "latest")
    directories = {path.rpartition("/")[0] for path in leaves}
    for directory in list(directories):
        parts = directory.split("/")
        directories |= {"/".join(parts[:depth]) for depth in range(1, len(parts))}
    assert {f"latest/{path}".rstrip("/") for path in known} == leaves | (directories - {""})


@settings(deadline=None)
@given(st.text())
def test_any_path_is_found_or_not(target: str) -> None:
    path = normal_path(target)
    found = None if path is None else find(entries(guest()), path)
    assert found is None or isinstance(found, bytes)


def test_a_guest_without_ipv4_shows_its_ipv6_address_alone() -> None:
    only = replace(interface(), private_addresses=(), public_addresses=(), ipv6_addresses=("fd00::5", "fd00::6"))
    who = replace(guest(), interfaces=(replace(only, subnet_cidr_block=""),))
    for path, value in (("local-ipv4", None), ("public-ipv4", None), ("ipv6", "fd00::5"), ("mac", only.mac_address)):
        assert read(who, f"/latest/meta-data/{path}") == value
    for path, value in (("local-ipv4s", None), ("ipv6s", "fd00::5\nfd00::6"), ("subnet-ipv4-cidr-block", None)):
        assert read(who, f"/{MACS}/{only.mac_address}/{path}") == value
