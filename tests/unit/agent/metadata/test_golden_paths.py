"""All that a guest with everything reads, path by path: the list of EC2's categories, as far as Stead has them.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-metadata.html names them. A path that is added or lost
is seen here.
"""

import json
from dataclasses import replace

import pytest

from stead_agent.metadata.interface import Guest, Identity, MaintenanceEvent, Options, PublicAddress, PushedKey, Role
from stead_agent.metadata.tree import entries, find
from stead_agent.metadata.versions import first_versions
from tests.support.metadata_guests import guest, interface

FIRST, SECOND = "0e:49:61:0f:c3:00", "0e:49:61:0f:c3:01"
LEAVES = f"""
dynamic/fws/instance-monitoring
dynamic/instance-identity/document
dynamic/instance-identity/pkcs7
dynamic/instance-identity/rsa2048
dynamic/instance-identity/signature
dynamic/stead/volumes/vol-0123456789abcdef0
meta-data/ami-id
meta-data/ami-launch-index
meta-data/ami-manifest-path
meta-data/block-device-mapping/ami
meta-data/block-device-mapping/ebs1
meta-data/block-device-mapping/ephemeral0
meta-data/block-device-mapping/root
meta-data/events/maintenance/history
meta-data/events/maintenance/scheduled
meta-data/hibernation/configured
meta-data/hostname
meta-data/iam/info
meta-data/iam/security-credentials/reader
meta-data/identity-credentials/ec2/info
meta-data/identity-credentials/ec2/security-credentials/ec2-instance
meta-data/instance-action
meta-data/instance-id
meta-data/instance-life-cycle
meta-data/instance-type
meta-data/ipv6
meta-data/local-hostname
meta-data/local-ipv4
meta-data/mac
meta-data/managed-ssh-keys/active-keys/ec2-user
meta-data/metrics/vhostmd
meta-data/network/interfaces/macs/{FIRST}/device-number
meta-data/network/interfaces/macs/{FIRST}/interface-id
meta-data/network/interfaces/macs/{FIRST}/ipv4-associations/203.0.113.25
meta-data/network/interfaces/macs/{FIRST}/ipv4-associations/203.0.113.26
meta-data/network/interfaces/macs/{FIRST}/ipv6s
meta-data/network/interfaces/macs/{FIRST}/local-hostname
meta-data/network/interfaces/macs/{FIRST}/local-ipv4s
meta-data/network/interfaces/macs/{FIRST}/mac
meta-data/network/interfaces/macs/{FIRST}/owner-id
meta-data/network/interfaces/macs/{FIRST}/public-hostname
meta-data/network/interfaces/macs/{FIRST}/public-ipv4s
meta-data/network/interfaces/macs/{FIRST}/security-group-ids
meta-data/network/interfaces/macs/{FIRST}/security-groups
meta-data/network/interfaces/macs/{FIRST}/subnet-id
meta-data/network/interfaces/macs/{FIRST}/subnet-ipv4-cidr-block
meta-data/network/interfaces/macs/{FIRST}/subnet-ipv6-cidr-blocks
meta-data/network/interfaces/macs/{FIRST}/vpc-id
meta-data/network/interfaces/macs/{FIRST}/vpc-ipv4-cidr-block
meta-data/network/interfaces/macs/{FIRST}/vpc-ipv4-cidr-blocks
meta-data/network/interfaces/macs/{FIRST}/vpc-ipv6-cidr-blocks
meta-data/network/interfaces/macs/{SECOND}/device-number
meta-data/network/interfaces/macs/{SECOND}/interface-id
meta-data/network/interfaces/macs/{SECOND}/local-hostname
meta-data/network/interfaces/macs/{SECOND}/local-ipv4s
meta-data/network/interfaces/macs/{SECOND}/mac
meta-data/network/interfaces/macs/{SECOND}/owner-id
meta-data/network/interfaces/macs/{SECOND}/security-group-ids
meta-data/network/interfaces/macs/{SECOND}/security-groups
meta-data/network/interfaces/macs/{SECOND}/subnet-id
meta-data/network/interfaces/macs/{SECOND}/subnet-ipv4-cidr-block
meta-data/network/interfaces/macs/{SECOND}/vpc-id
meta-data/network/interfaces/macs/{SECOND}/vpc-ipv4-cidr-block
meta-data/network/interfaces/macs/{SECOND}/vpc-ipv4-cidr-blocks
meta-data/placement/availability-zone
meta-data/placement/availability-zone-id
meta-data/placement/region
meta-data/profile
meta-data/public-hostname
meta-data/public-ipv4
meta-data/public-keys/0/openssh-key
meta-data/reservation-id
meta-data/security-groups
meta-data/services/domain
meta-data/services/partition
meta-data/system
meta-data/tags/instance/Name
user-data
""".split()

# What EC2 answers with 404 on an on-demand instance that is in no group, has no products and is about to lose nothing.
ABSENT = [
    "meta-data/ancestor-ami-ids",
    "meta-data/autoscaling/target-lifecycle-state",
    "meta-data/block-device-mapping/swap",
    "meta-data/events/recommendations/rebalance",
    "meta-data/kernel-id",
    "meta-data/placement/group-name",
    "meta-data/placement/host-id",
    "meta-data/placement/partition-number",
    "meta-data/product-codes",
    "meta-data/ramdisk-id",
    "meta-data/spot",
    "meta-data/spot/instance-action",
    "meta-data/spot/termination-time",
]


def everything() -> Guest:
    """A guest with two interfaces, both families of addresses, a scratch disk, tags, user data and an identity."""
    first = replace(
        interface(0),
        private_addresses=("172.31.0.5", "172.31.0.6"),
        public_addresses=(PublicAddress("203.0.113.25", "172.31.0.5"), PublicAddress("203.0.113.26", "172.31.0.6")),
        ipv6_addresses=("fd00::5",),
        subnet_ipv6_cidr_block="fd00::/64",
        vpc_ipv6_cidr_blocks=("fd00::/56",),
    )
    return replace(
        guest(),
        interfaces=(first, replace(interface(1, "172.31.16.9"), security_groups=("databases",))),
        ebs_device_names=("/dev/sdf",),
        ephemeral_device_names=("/dev/sdb",),
        volumes={"vol-0123456789abcdef0": "/dev/sda1"},
        tags={"Name": "web"},
        user_data=b"#!/bin/sh\n",
        options=Options(instance_metadata_tags=True),
        identity_role=Role("", "", "ec2-instance", "Success", 1, 2, "ASIA2", "s", "t"),
        identity=Identity("{}", "c2lnbmVk", "bWVzc2FnZQ=="),
        role=Role(
            "arn:aws:iam::123456789012:instance-profile/p", "AIPA1", "reader", "Success", 1, 2, "ASIA1", "s", "t"
        ),
        availability_zone_id="use1-az1",
    )


def test_a_guest_in_a_placement_group_reads_its_name_and_partition() -> None:
    known = entries(replace(everything(), placement_group="racks", partition_number=3))
    assert find(known, "latest/meta-data/placement/group-name") == b"racks"
    assert find(known, "latest/meta-data/placement/partition-number") == b"3"
    known = entries(replace(everything(), placement_group="apart"))
    assert find(known, "latest/meta-data/placement/partition-number") is None


def test_a_guest_on_a_dedicated_host_reads_its_id() -> None:
    known = entries(replace(everything(), host_id="h-0123456789abcdef0"))
    assert find(known, "latest/meta-data/placement/host-id") == b"h-0123456789abcdef0"
    assert find(entries(everything()), "latest/meta-data/placement/host-id") is None


def test_a_guest_in_an_auto_scaling_group_reads_where_it_goes() -> None:
    known = entries(replace(everything(), target_lifecycle_state="Warmed:Stopped"))
    assert find(known, "latest/meta-data/autoscaling/target-lifecycle-state") == b"Warmed:Stopped"
    assert first_versions(known)["meta-data/autoscaling/target-lifecycle-state"] == "2021-07-15"


def test_a_spot_instance_says_so_and_shows_its_end_two_minutes_before() -> None:
    known = entries(replace(everything(), spot=True))
    assert find(known, "latest/meta-data/instance-life-cycle") == b"spot"
    assert find(known, "latest/meta-data/spot") is None
    known = entries(replace(everything(), spot=True, interruption_time=1_795_861_320))
    action = {"action": "terminate", "time": "2026-11-28T10:22:00Z"}
    assert json.loads(find(known, "latest/meta-data/spot/instance-action") or b"") == action
    assert find(known, "latest/meta-data/spot/termination-time") == b"2026-11-28T10:22:00Z"
    notice = {"noticeTime": "2026-11-28T10:20:00Z"}
    assert json.loads(find(known, "latest/meta-data/events/recommendations/rebalance") or b"") == notice
    first = first_versions(known)
    old = {"spot/termination-time": "2014-11-05", "spot/instance-action": "2016-11-15"}
    old |= {"events/recommendations/rebalance": "2020-10-27"}
    for path, version in old.items():
        assert first[f"meta-data/{path}"] == version


def test_golden_paths() -> None:
    known = entries(everything(), [PushedKey("ec2-user", "ssh-ed25519 AAAA", 2, "arn:aws:iam::1:user/u", "r")])
    inner = {path.rpartition("/")[0] for path in known}
    directories = {"", *inner}
    for path in inner:
        parts = path.split("/")
        directories |= {"/".join(parts[:depth]) for depth in range(len(parts))}
    assert sorted(set(known) - directories) == sorted(LEAVES)
    assert all(known.values())


@pytest.mark.parametrize("path", ABSENT)
def test_what_an_instance_has_not_is_not_there(path: str) -> None:
    assert find(entries(everything()), f"latest/{path}") is None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"network/interfaces/macs/{FIRST}/local-ipv4s", "172.31.0.5\n172.31.0.6"),
        (f"network/interfaces/macs/{FIRST}/public-ipv4s", "203.0.113.25\n203.0.113.26"),
        (f"network/interfaces/macs/{FIRST}/ipv6s", "fd00::5"),
        (f"network/interfaces/macs/{FIRST}/vpc-ipv6-cidr-blocks", "fd00::/56"),
        (f"network/interfaces/macs/{SECOND}/local-ipv4s", "172.31.16.9"),
        (f"network/interfaces/macs/{SECOND}/device-number", "1"),
        (f"network/interfaces/macs/{SECOND}/security-groups", "databases"),
        ("block-device-mapping/ebs1", "/dev/sdf"),
        ("block-device-mapping/ephemeral0", "/dev/sdb"),
        ("placement/availability-zone-id", "use1-az1"),
        ("ipv6", "fd00::5"),
    ],
)
def test_values_that_few_guests_have(path: str, value: str) -> None:
    assert find(entries(everything()), f"latest/meta-data/{path}") == value.encode()


def test_scheduled_events_and_those_that_ended_are_shown_as_ec2_does() -> None:
    planned = MaintenanceEvent("instance-event-1", "instance-stop", "a host is replaced", "active", 1_548_061_243)
    ended = MaintenanceEvent("instance-event-2", "instance-stop", "[Completed] d", "completed", 1_548_752_443)
    canceled = MaintenanceEvent("instance-event-3", "instance-stop", "[Canceled] d", "canceled", 1_548_752_443)
    known = entries(replace(everything(), events=(planned, ended, canceled)))
    shown = find(known, "latest/meta-data/events/maintenance/scheduled")
    assert shown is not None
    assert json.loads(shown) == [
        {
            "NotBefore": "21 Jan 2019 09:00:43 GMT",
            "Code": "instance-stop",
            "Description": "a host is replaced",
            "EventId": "instance-event-1",
            "State": "active",
        }
    ]
    history = find(known, "latest/meta-data/events/maintenance/history")
    assert history is not None
    assert [(each["EventId"], each["State"]) for each in json.loads(history)] == [
        ("instance-event-2", "completed"),
        ("instance-event-3", "canceled"),
    ]
