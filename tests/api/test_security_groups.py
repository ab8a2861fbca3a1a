"""Security groups through boto3: made, deleted, and seen from their VPC."""

import pytest
from sqlalchemy import update

from stead_controller.db.tables import InterfaceGroup, Vpc
from stead_controller.resources import quotas

EVERYTHING = {
    "IpProtocol": "-1",
    "IpRanges": [{"CidrIp": "0.0.0.0/0"}],
    "Ipv6Ranges": [],
    "PrefixListIds": [],
    "UserIdGroupPairs": [],
}


def create(api, name="web", **params):
    return api.ec2.create_security_group(GroupName=name, Description=f"{name} servers", **params)["GroupId"]


def shown(api, group_id):
    return api.ec2.describe_security_groups(GroupIds=[group_id])["SecurityGroups"][0]


def test_a_new_group_allows_all_egress_and_no_ingress(api):
    tags = [{"ResourceType": "security-group", "Tags": [{"Key": "Name", "Value": "web"}]}]
    made = api.ec2.create_security_group(
        GroupName="web", Description="servers", VpcId=api.world.one.vpc_id, TagSpecifications=tags
    )
    account = api.world.one.caller.account_id
    assert made["SecurityGroupArn"] == f"arn:aws:ec2:us-east-1:{account}:security-group/{made['GroupId']}"
    assert made["Tags"] == [{"Key": "Name", "Value": "web"}]
    group = shown(api, made["GroupId"])
    assert group["IpPermissions"] == []
    assert group["IpPermissionsEgress"] == [EVERYTHING]
    assert (group["VpcId"], group["Description"], group["Tags"]) == (api.world.one.vpc_id, "servers", made["Tags"])


def test_deleting_takes_rules_and_tags_along(api):
    group_id = create(api)
    api.ec2.create_tags(Resources=[group_id], Tags=[{"Key": "a", "Value": "b"}])
    permission = {"IpProtocol": "tcp", "FromPort": 1, "ToPort": 1, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}
    api.ec2.authorize_security_group_ingress(
        GroupId=group_id,
        IpPermissions=[permission],
        TagSpecifications=[{"ResourceType": "security-group-rule", "Tags": [{"Key": "a", "Value": "b"}]}],
    )
    own = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group_id}]}
    api.ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=[own])
    assert api.ec2.delete_security_group(GroupId=group_id)["GroupId"] == group_id
    assert api.ec2.describe_tags()["Tags"] == []
    of_group = [{"Name": "group-id", "Values": [group_id]}]
    assert api.ec2.describe_security_group_rules(Filters=of_group)["SecurityGroupRules"] == []
    api.refused("InvalidGroup.NotFound", api.ec2.delete_security_group, GroupId=group_id)


def test_deleting_by_name(api):
    group_id = create(api, "by name")
    api.ec2.delete_security_group(GroupName="by name")
    api.refused("InvalidGroup.NotFound", api.ec2.describe_security_groups, GroupIds=[group_id])


def test_a_used_group_stays(api):
    group_id, other = create(api, "used"), create(api, "other")
    pair = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group_id}]}
    api.ec2.authorize_security_group_egress(GroupId=other, IpPermissions=[pair])
    message = api.refused("DependencyViolation", api.ec2.delete_security_group, GroupId=group_id)
    assert message == f"resource {group_id} has a dependent object"
    api.ec2.revoke_security_group_egress(GroupId=other, IpPermissions=[pair])
    api.ec2.delete_security_group(GroupId=group_id)
    api.launch()
    api.refused("CannotDelete", api.ec2.delete_security_group, GroupId=api.world.one.group_id)


def test_a_group_with_an_interface_stays(api):
    group_id = create(api)
    api.launch()
    (interface,) = api.ec2.describe_network_interfaces()["NetworkInterfaces"]
    api.run(_join, interface["NetworkInterfaceId"], group_id)
    api.refused("DependencyViolation", api.ec2.delete_security_group, GroupId=group_id)


def _join(tx, interface_id, group_id):
    tx.session.add(InterfaceGroup(interface_id=interface_id, group_id=group_id))


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("InvalidGroup.Duplicate", {"GroupName": "web"}),
        ("InvalidParameterValue", {"GroupName": "default"}),
        ("InvalidParameterValue", {"GroupName": "sg-web"}),
        ("InvalidParameterValue", {"GroupName": "w" * 256}),
        ("InvalidParameterValue", {"GroupName": "wéb"}),
        ("InvalidParameterValue", {"Description": "<script>"}),
        ("MissingParameter", {"Description": ""}),
        ("InvalidVpcID.NotFound", {"VpcId": "vpc-00000000000000000"}),
        ("InvalidVpcID.Malformed", {"VpcId": "vpc-x"}),
    ],
)
def test_bad_groups_change_nothing(api, code, changes):
    create(api)
    api.refused(code, api.ec2.create_security_group, **{"GroupName": "other", "Description": "d"} | changes)


def test_without_a_default_vpc(api):
    api.run(lambda tx: tx.session.execute(update(Vpc).values(is_default=False)))
    params = {"GroupName": "web", "Description": "d"}
    api.refused("VPCIdNotSpecified", api.ec2.create_security_group, **params)
    api.ec2.create_security_group(VpcId=api.world.one.vpc_id, **params)
    api.refused("MissingParameter", api.ec2.delete_security_group)


def test_the_quota_of_groups(api):
    api.run(quotas.set_value, api.world.one.caller.account_id, quotas.SECURITY_GROUPS, 2)
    create(api)
    params = {"GroupName": "more", "Description": "d"}
    api.refused("SecurityGroupLimitExceeded", api.ec2.create_security_group, **params)


def test_rules_are_modified_in_place(api):
    group_id, peer = create(api), create(api, "peer")
    ssh = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}
    web = ssh | {"FromPort": 80, "ToPort": 80}
    made = api.ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=[ssh, web])["SecurityGroupRules"]
    first, second = (one["SecurityGroupRuleId"] for one in sorted(made, key=lambda one: one["FromPort"]))

    def modify(rule_id, **rule):
        change = {"SecurityGroupRuleId": rule_id, "SecurityGroupRule": rule}
        return {"GroupId": group_id, "SecurityGroupRules": [change]}

    call = api.ec2.modify_security_group_rules
    call(**modify(first, IpProtocol="udp", FromPort=53, ToPort=54, ReferencedGroupId=peer, Description="dns"))
    (rule,) = api.ec2.describe_security_group_rules(SecurityGroupRuleIds=[first])["SecurityGroupRules"]
    assert (rule["IpProtocol"], rule["FromPort"], rule["ToPort"], rule["Description"]) == ("udp", 53, 54, "dns")
    assert rule["ReferencedGroupInfo"]["GroupId"] == peer
    assert "CidrIpv4" not in rule
    # Only another description, everything else as it was.
    call(**modify(first, IpProtocol="udp", FromPort=53, ToPort=54, ReferencedGroupId=peer, Description="names"))
    taken = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "CidrIpv4": "10.0.0.0/8"}
    api.refused("InvalidPermission.Duplicate", call, **modify(first, **taken))
    api.refused("InvalidParameterCombination", call, **modify(first, **taken | {"CidrIpv6": "::/0"}))
    api.refused("InvalidParameterValue", call, **modify(first, **taken | {"FromPort": 81}))
    absent = "sgr-00000000000000000"
    api.refused("InvalidSecurityGroupRuleId.NotFound", call, **modify(absent, **taken))
    twice = modify(first, **taken | {"ToPort": 81})
    twice["SecurityGroupRules"] *= 2
    assert first in api.refused("InvalidParameterValue", call, **twice)
    swapped = {
        "GroupId": group_id,
        "SecurityGroupRules": [
            {"SecurityGroupRuleId": first, "SecurityGroupRule": taken},
            {
                "SecurityGroupRuleId": second,
                "SecurityGroupRule": {"IpProtocol": "udp", "FromPort": 53, "ToPort": 54, "ReferencedGroupId": peer},
            },
        ],
    }
    call(**swapped)
    found = api.ec2.describe_security_group_rules(SecurityGroupRuleIds=[first, second])["SecurityGroupRules"]
    assert {one["SecurityGroupRuleId"]: one["IpProtocol"] for one in found} == {first: "tcp", second: "udp"}


def test_groups_for_a_vpc(api):
    group_id = create(api)
    call = api.ec2.get_security_groups_for_vpc
    found = call(VpcId=api.world.one.vpc_id)["SecurityGroupForVpcs"]
    assert {one["GroupId"] for one in found} == {group_id, api.world.one.group_id}
    assert {one["PrimaryVpcId"] for one in found} == {api.world.one.vpc_id}
    named = [{"Name": "group-name", "Values": ["we?"]}]
    (one,) = call(VpcId=api.world.one.vpc_id, Filters=named)["SecurityGroupForVpcs"]
    assert one["GroupId"] == group_id
    api.refused("InvalidVpcID.NotFound", call, VpcId=api.world.other.vpc_id)


def test_icmpv6_and_protocol_numbers(api):
    group_id = create(api)
    permissions = [
        {"IpProtocol": "icmpv6", "FromPort": 128, "ToPort": 0, "Ipv6Ranges": [{"CidrIpv6": "::/0"}]},
        {"IpProtocol": "58", "FromPort": 129, "ToPort": -1, "Ipv6Ranges": [{"CidrIpv6": "::/0"}]},
        {"IpProtocol": "50", "IpRanges": [{"CidrIp": "10.0.0.0/8"}]},
    ]
    api.ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=permissions)
    found = {
        (one["IpProtocol"], one.get("FromPort"), one.get("ToPort")) for one in shown(api, group_id)["IpPermissions"]
    }
    assert found == {("icmpv6", 128, 0), ("icmpv6", 129, -1), ("50", None, None)}
