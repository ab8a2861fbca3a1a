"""Rules of security groups as EC2 shows them: together as permissions, and with the group that they refer to."""

import pytest

from stead_controller.aws.ec2.network.security_group_rule_view import permissions_view
from stead_controller.db.tables import SecurityGroupRule


def rule(protocol="tcp", first=22, last=22, **peer):
    return SecurityGroupRule(account_id="1", protocol=protocol, from_port=first, to_port=last, **peer)


def test_rules_of_the_same_ports_are_one_permission():
    rules = [
        rule(cidr_ipv4="10.0.0.0/8", description="a"),
        rule(cidr_ipv6="::/0"),
        rule(first=80, last=80, cidr_ipv4="10.0.0.0/8"),
        rule(prefix_list_id="pl-1"),
        rule(peer_group_id="sg-1"),
    ]
    ssh, http = permissions_view(rules, {})
    assert ssh == {
        "IpProtocol": "tcp",
        "FromPort": 22,
        "ToPort": 22,
        "IpRanges": [{"CidrIp": "10.0.0.0/8", "Description": "a"}],
        "Ipv6Ranges": [{"CidrIpv6": "::/0", "Description": None}],
        "PrefixListIds": [{"PrefixListId": "pl-1", "Description": None}],
        "UserIdGroupPairs": [{"GroupId": "sg-1", "UserId": "1", "Description": None}],
    }
    assert (http["FromPort"], len(http["IpRanges"]), http["UserIdGroupPairs"]) == (80, 1, [])


@pytest.mark.parametrize(
    ("protocol", "has_ports"), [("-1", False), ("50", False), ("tcp", True), ("icmp", True), ("icmpv6", True)]
)
def test_all_protocols_and_those_without_ports_show_none(protocol, has_ports):
    (shown,) = permissions_view([rule(protocol, -1, -1, cidr_ipv4="0.0.0.0/0")], {})
    assert ("FromPort" in shown, "ToPort" in shown) == (has_ports, has_ports)


@pytest.mark.parametrize(("statuses", "status"), [({"pcx-1": "active"}, "active"), ({"pcx-2": "active"}, "deleted")])
def test_a_forgotten_peering_connection_is_a_deleted_one(statuses, status):
    peer = {"peer_group_id": "sg-1", "peer_account_id": "2", "peer_vpc_id": "vpc-2", "peering_id": "pcx-1"}
    (shown,) = permissions_view([rule(**peer)], statuses)
    assert shown["UserIdGroupPairs"] == [
        {
            "GroupId": "sg-1",
            "UserId": "2",
            "VpcId": "vpc-2",
            "VpcPeeringConnectionId": "pcx-1",
            "PeeringStatus": status,
            "Description": None,
        }
    ]
