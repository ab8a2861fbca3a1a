"""Rules of security groups through boto3: allowed, revoked, described, sent to hosts."""

import pytest
from sqlalchemy import select, update

from stead_controller.catalog import ids
from stead_controller.db.tables import SecurityGroup, Vpc, VpcResource
from stead_controller.desired import desired_state
from stead_controller.resources.network import create_vpc
from stead_proto.v1 import desired_pb2 as pb
from tests.support.rows import CLOUD, NOW

SSH = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0", "Description": "ssh"}]}


@pytest.fixture
def group_id(api):
    return api.world.one.group_id


def add_group(api, tenant, name, vpc_id=None):
    group_id = ids.new_id("security-group")
    group = SecurityGroup(
        id=group_id,
        account_id=tenant.caller.account_id,
        vpc_id=vpc_id or tenant.vpc_id,
        name=name,
        description=name,
        created=NOW,
    )
    api.run(lambda tx: tx.session.add(group))
    return group_id


def make_vpc_ordinary(api):
    """Let the first tenant's VPC be no default VPC."""
    api.run(lambda tx: tx.session.execute(update(Vpc).where(Vpc.id == api.world.one.vpc_id).values(is_default=False)))


def permissions(api, group_id, direction="IpPermissions"):
    (group,) = api.ec2.describe_security_groups(GroupIds=[group_id])["SecurityGroups"]
    return group[direction]


def sent(api, group_id):
    """What hosts are sent of a group: its rules as (protocol, from, to, peer)."""
    query = select(VpcResource.body).where(
        VpcResource.resource_id == group_id, VpcResource.kind == pb.KIND_SECURITY_GROUP
    )
    (body,) = api.run(lambda tx: tx.session.scalars(query).all())
    rules = pb.Resource.FromString(body).security_group.rules
    return {(rule.protocol, rule.from_port, rule.to_port, getattr(rule, rule.WhichOneof("peer"))) for rule in rules}


def test_authorize_and_revoke_reach_the_hosts(api, group_id):
    instance_id = api.launch()
    api.run(desired_state.refresh_instance, instance_id)
    before = sent(api, group_id)
    made = api.ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=[SSH])
    assert made["Return"] is True
    (rule,) = made["SecurityGroupRules"]
    assert rule["SecurityGroupRuleId"].startswith("sgr-")
    assert (rule["CidrIpv4"], rule["FromPort"], rule["IsEgress"], rule["Description"]) == (
        "0.0.0.0/0",
        22,
        False,
        "ssh",
    )
    assert sent(api, group_id) - before == {("tcp", 22, 22, "0.0.0.0/0")}
    gone = api.ec2.revoke_security_group_ingress(GroupId=group_id, IpPermissions=[SSH])
    assert [one["SecurityGroupRuleId"] for one in gone["RevokedSecurityGroupRules"]] == [rule["SecurityGroupRuleId"]]
    assert sent(api, group_id) == before


def test_the_shape_of_permissions(api, group_id):
    other = add_group(api, api.world.one, "web")
    api.ec2.authorize_security_group_ingress(
        GroupId=group_id,
        IpPermissions=[
            {
                "IpProtocol": "tcp",
                "FromPort": 80,
                "ToPort": 81,
                "IpRanges": [{"CidrIp": "10.0.0.1/8"}, {"CidrIp": "192.168.0.0/16", "Description": "home"}],
                "Ipv6Ranges": [{"CidrIpv6": "2001:DB8::1/64"}],
                "UserIdGroupPairs": [{"GroupId": other, "Description": "web"}, {"GroupName": "default"}],
            },
            {"IpProtocol": "icmp", "FromPort": 8, "ToPort": -1, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]},
        ],
    )
    found = {one["IpProtocol"]: one for one in permissions(api, group_id)}
    assert found["tcp"]["FromPort"] == 80
    assert sorted(one["CidrIp"] for one in found["tcp"]["IpRanges"]) == ["10.0.0.0/8", "192.168.0.0/16"]
    assert found["tcp"]["Ipv6Ranges"] == [{"CidrIpv6": "2001:db8::/64"}]
    pairs = {pair["GroupId"]: pair.get("Description") for pair in found["tcp"]["UserIdGroupPairs"]}
    assert pairs == {other: "web", group_id: None}
    assert (found["icmp"]["FromPort"], found["icmp"]["ToPort"]) == (8, -1)
    assert "FromPort" not in found["-1"]
    (egress,) = permissions(api, group_id, "IpPermissionsEgress")
    assert egress["IpRanges"] == [{"CidrIp": "0.0.0.0/0"}]


def test_what_describe_says_can_be_revoked(api, group_id):
    api.ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=[SSH])
    api.ec2.revoke_security_group_ingress(GroupId=group_id, IpPermissions=permissions(api, group_id))
    api.ec2.revoke_security_group_egress(
        GroupId=group_id, IpPermissions=permissions(api, group_id, "IpPermissionsEgress")
    )
    assert permissions(api, group_id) == permissions(api, group_id, "IpPermissionsEgress") == []


def test_the_older_flat_parameters(api, group_id):
    flat = {"IpProtocol": "udp", "FromPort": 53, "ToPort": 53, "CidrIp": "10.0.0.0/8"}
    (rule,) = api.ec2.authorize_security_group_ingress(GroupName="default", **flat)["SecurityGroupRules"]
    assert rule["GroupId"] == group_id
    api.ec2.revoke_security_group_ingress(GroupName="default", **flat)
    add_group(api, api.world.one, "web")
    made = api.ec2.authorize_security_group_ingress(GroupId=group_id, SourceSecurityGroupName="web")
    assert {one["IpProtocol"] for one in made["SecurityGroupRules"]} == {"tcp", "udp", "icmp"}
    api.refused("UnsupportedOperation", api.ec2.authorize_security_group_egress, GroupId=group_id, CidrIp="10.0.0.0/8")
    both = {"GroupId": group_id, "IpPermissions": [SSH], **flat}
    api.refused("InvalidParameterCombination", api.ec2.authorize_security_group_ingress, **both)


@pytest.mark.parametrize(
    ("code", "permission"),
    [
        ("InvalidPermission.Malformed", {"IpProtocol": "tcp", "FromPort": 1, "ToPort": 1}),
        ("InvalidParameterValue", {**SSH, "IpRanges": [{"CidrIp": "10.0.0.0/99"}]}),
        ("InvalidParameterValue", {**SSH, "IpProtocol": "bogus"}),
        ("InvalidParameterValue", {**SSH, "FromPort": 70000}),
        ("InvalidParameterValue", {**SSH, "ToPort": 21}),
        ("InvalidParameterValue", {**SSH, "IpRanges": [{"CidrIp": "10.0.0.0/8", "Description": "<script>"}]}),
        ("InvalidParameterValue", {**SSH, "IpRanges": [{"CidrIp": "10.0.0.1/8"}, {"CidrIp": "10.0.0.2/8"}]}),
        ("InvalidPermission.Duplicate", {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupName": "default"}]}),
        ("InvalidGroup.NotFound", {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": "sg-00000000000000000"}]}),
        ("InvalidGroupId.Malformed", {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": "sg-x"}]}),
        ("InvalidGroup.NotFound", {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupName": "nobody"}]}),
        ("InvalidPrefixListID.NotFound", {**SSH, "PrefixListIds": [{"PrefixListId": "pl-00000000"}]}),
        ("MissingParameter", {"IpRanges": [{"CidrIp": "10.0.0.0/8"}]}),
    ],
)
def test_bad_permissions_change_nothing(api, group_id, code, permission):
    good = {**SSH, "FromPort": 443, "ToPort": 443}
    api.refused(code, api.ec2.authorize_security_group_ingress, GroupId=group_id, IpPermissions=[good, permission])


def test_others_groups_are_absent(api, group_id):
    theirs = api.world.other.group_id
    absent = "sg-00000000000000000"
    seen = [
        api.refused("InvalidGroup.NotFound", call, GroupId=one, IpPermissions=[SSH]).replace(one, "X")
        for call in (
            api.ec2.authorize_security_group_ingress,
            api.ec2.authorize_security_group_egress,
            api.ec2.revoke_security_group_ingress,
            api.ec2.revoke_security_group_egress,
        )
        for one in (theirs, absent)
    ]
    assert len(set(seen)) == 1
    pair = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": theirs}]}
    own_account = {**pair, "UserIdGroupPairs": [{"GroupId": theirs, "UserId": api.world.other.caller.account_id}]}
    for permission in (pair, own_account):
        api.refused(
            "InvalidGroup.NotFound",
            api.ec2.authorize_security_group_ingress,
            GroupId=group_id,
            IpPermissions=[permission],
        )


def test_a_group_is_named_once(api, group_id):
    both = {"GroupId": group_id, "GroupName": "default"}
    api.refused("InvalidParameterCombination", api.ec2.authorize_security_group_ingress, IpPermissions=[SSH], **both)
    api.refused("MissingParameter", api.ec2.authorize_security_group_ingress, IpPermissions=[SSH])
    api.refused("MissingParameter", api.ec2.authorize_security_group_ingress, GroupId=group_id)
    api.refused(
        "InvalidGroupId.Malformed", api.ec2.authorize_security_group_ingress, GroupId="sg-?", IpPermissions=[SSH]
    )


def test_duplicates_get_ec2s_error(api, group_id):
    api.ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=[SSH])
    message = api.refused(
        "InvalidPermission.Duplicate",
        api.ec2.authorize_security_group_ingress,
        GroupId=group_id,
        IpPermissions=[{**SSH, "IpRanges": [{"CidrIp": "0.0.0.0/0", "Description": "other words"}]}],
    )
    assert 'peer: 0.0.0.0/0, TCP, from port: 22, to port: 22, ALLOW" already exists' in message


def test_revoking_what_is_not_there(api, group_id):
    answer = api.ec2.revoke_security_group_ingress(GroupId=group_id, IpPermissions=[SSH])
    assert answer["UnknownIpPermissions"][0]["IpRanges"][0]["CidrIp"] == "0.0.0.0/0"
    assert answer.get("RevokedSecurityGroupRules", []) == []
    make_vpc_ordinary(api)
    api.refused(
        "InvalidPermission.NotFound", api.ec2.revoke_security_group_ingress, GroupId=group_id, IpPermissions=[SSH]
    )


def test_sixty_rules_of_each_ip_version(api, group_id):
    def blocks(first, number):
        return [{**SSH, "IpRanges": [{"CidrIp": f"10.0.{first + one}.0/24"} for one in range(number)]}]

    authorize = api.ec2.authorize_security_group_ingress
    authorize(GroupId=group_id, IpPermissions=blocks(0, 59))  # the group's reference to itself is the 60th
    api.refused("RulesPerSecurityGroupLimitExceeded", authorize, GroupId=group_id, IpPermissions=blocks(100, 1))
    six = {"IpProtocol": "tcp", "FromPort": 1, "ToPort": 1}
    authorize(
        GroupId=group_id,
        IpPermissions=[{**six, "Ipv6Ranges": [{"CidrIpv6": f"2001:db8:{one:x}::/48"} for one in range(59)]}],
    )
    too_many = [{**six, "UserIdGroupPairs": [{"GroupId": group_id}]}]
    api.refused("RulesPerSecurityGroupLimitExceeded", authorize, GroupId=group_id, IpPermissions=too_many)
    api.ec2.authorize_security_group_egress(GroupId=group_id, IpPermissions=blocks(0, 59))


def test_rules_by_id_with_tags_and_descriptions(api, group_id):
    tags = [{"ResourceType": "security-group-rule", "Tags": [{"Key": "why", "Value": "ssh"}]}]
    made = api.ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=[SSH], TagSpecifications=tags)
    (rule,) = made["SecurityGroupRules"]
    assert rule["Tags"] == [{"Key": "why", "Value": "ssh"}]
    rule_id = rule["SecurityGroupRuleId"]
    by_tag = api.ec2.describe_security_group_rules(Filters=[{"Name": "tag:why", "Values": ["ssh"]}])
    assert [one["SecurityGroupRuleId"] for one in by_tag["SecurityGroupRules"]] == [rule_id]
    malformed = [{"Name": "group-id", "Values": ["sg-*", "default"]}]
    api.refused("InvalidGroupId.Malformed", api.ec2.describe_security_group_rules, Filters=malformed)
    of_group = api.ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group_id]}])
    assert len(of_group["SecurityGroupRules"]) == 3
    references = [one for one in of_group["SecurityGroupRules"] if "ReferencedGroupInfo" in one]
    assert references[0]["ReferencedGroupInfo"]["GroupId"] == group_id
    api.ec2.update_security_group_rule_descriptions_ingress(
        GroupId=group_id, SecurityGroupRuleDescriptions=[{"SecurityGroupRuleId": rule_id, "Description": "by id"}]
    )
    shown = api.ec2.describe_security_group_rules(SecurityGroupRuleIds=[rule_id])["SecurityGroupRules"]
    assert shown[0]["Description"] == "by id"
    api.refused(
        "InvalidParameterValue",
        api.ec2.update_security_group_rule_descriptions_ingress,
        GroupId=group_id,
        SecurityGroupRuleDescriptions=[{"SecurityGroupRuleId": rule_id, "Description": text} for text in ("a", "b")],
    )
    api.ec2.update_security_group_rule_descriptions_ingress(GroupId=group_id, IpPermissions=[SSH])
    shown = api.ec2.describe_security_group_rules(SecurityGroupRuleIds=[rule_id])["SecurityGroupRules"]
    assert shown[0]["Description"] == "ssh"
    code = "InvalidSecurityGroupRuleId.NotFound"
    api.refused(code, api.ec2.revoke_security_group_egress, GroupId=group_id, SecurityGroupRuleIds=[rule_id])
    api.refused(code, api.other.describe_security_group_rules, SecurityGroupRuleIds=[rule_id])
    api.refused(
        code,
        api.other.revoke_security_group_ingress,
        GroupId=api.world.other.group_id,
        SecurityGroupRuleIds=[rule_id],
    )
    api.refused(
        "InvalidSecurityGroupRuleId.Malformed",
        api.ec2.revoke_security_group_ingress,
        GroupId=group_id,
        SecurityGroupRuleIds=["sgr-1"],
    )
    gone = api.ec2.revoke_security_group_ingress(GroupId=group_id, SecurityGroupRuleIds=[rule_id])
    assert gone["RevokedSecurityGroupRules"][0]["SecurityGroupRuleId"] == rule_id
    assert api.ec2.describe_tags()["Tags"] == []


def test_groups_by_name_and_filter(api, group_id):
    web = add_group(api, api.world.one, "web")
    api.ec2.authorize_security_group_ingress(GroupId=web, IpPermissions=[SSH])

    def found(**asked):
        return {group["GroupId"] for group in api.ec2.describe_security_groups(**asked)["SecurityGroups"]}

    def by(name, *values):
        return found(Filters=[{"Name": name, "Values": list(values)}])

    assert found() == {group_id, web}
    assert found(GroupNames=["web"]) == {web}
    assert found(GroupNames=["web"], GroupIds=[group_id]) == {group_id, web}
    assert by("group-name", "we*") == {web}
    assert by("vpc-id", api.world.one.vpc_id) == {group_id, web}
    assert by("ip-permission.cidr", "0.0.0.0/0") == {web}
    assert by("egress.ip-permission.cidr", "0.0.0.0/0") == {group_id}
    assert by("ip-permission.from-port", "22") == {web}
    assert by("ip-permission.protocol", "tcp") == {web}
    assert by("ip-permission.group-id", group_id) == {group_id}
    assert by("ip-permission.group-name", "default") == {group_id}
    out = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "UserIdGroupPairs": [{"GroupId": group_id}]}
    api.ec2.authorize_security_group_egress(GroupId=web, IpPermissions=[out])
    assert by("egress.ip-permission.group-name", "default") == {web}
    assert by("egress.ip-permission.group-name", group_id, "web") == set()
    assert by("egress.ip-permission.group-id", group_id) == {web}
    assert by("ip-permission.user-id", api.world.one.caller.account_id) == {group_id}
    assert by("ip-permission.to-port", "23") == set()
    assert by("description", "default VPC*") == {group_id}
    api.refused("InvalidGroup.NotFound", api.ec2.describe_security_groups, GroupNames=["web", "nobody"])
    api.refused("InvalidGroup.NotFound", api.other.describe_security_groups, GroupIds=[web])
    api.refused("InvalidGroupId.Malformed", api.ec2.describe_security_groups, GroupIds=["web"])


def test_a_peer_in_another_vpc_is_refused(api, group_id):
    def second_vpc(tx):
        vpc = create_vpc.add(tx, CLOUD, api.world.one.caller.account_id, "10.0.0.0/16", NOW)
        return vpc.id

    far = add_group(api, api.world.one, "far", api.run(second_vpc))
    pair = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": far}]}
    message = api.refused(
        "InvalidGroup.NotFound", api.ec2.authorize_security_group_ingress, GroupId=group_id, IpPermissions=[pair]
    )
    assert "different networks" in message


def test_dry_run_changes_nothing(api, group_id):
    api.refused(
        "DryRunOperation",
        api.ec2.authorize_security_group_ingress,
        GroupId=group_id,
        IpPermissions=[SSH],
        DryRun=True,
    )
