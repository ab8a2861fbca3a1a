"""What hosts are sent after changes, through boto3, to ACLs, groups, prefix lists, peerings and flow logs."""

import pytest
from sqlalchemy import select

from stead_controller.db.tables import VpcResource
from stead_controller.desired import topics
from stead_controller.resources.network import notify_hosts
from stead_proto.v1 import desired_pb2 as pb
from tests.api.test_vpc_peering_connections import far, near, pending  # noqa: F401 - the fixtures of a peering

MEMBERS = {
    pb.KIND_SUBNET: "subnet",
    pb.KIND_SECURITY_GROUP: "security_group",
    pb.KIND_NETWORK_ACL: "network_acl",
    pb.KIND_PEERING: "peering",
    pb.KIND_FLOW_LOG: "flow_log",
    pb.KIND_ROUTE_TABLE: "route_table",
}


def topic(api, kind, resource_id):
    """The state of a part in its VPC's topic, without its rows; None when hosts are sent its removal."""
    query = select(VpcResource.body).where(VpcResource.resource_id == resource_id, VpcResource.kind == kind)
    (body,) = api.run(lambda tx: tx.session.scalars(query).all())
    if body is None:
        return None
    found = getattr(pb.Resource.FromString(body), MEMBERS[kind])
    found.ClearField("rows")
    return found


@pytest.fixture
def acl_id(api):
    return api.ec2.create_network_acl(VpcId=api.world.one.vpc_id)["NetworkAcl"]["NetworkAclId"]


def test_acls(api, acl_id):
    assert topic(api, pb.KIND_NETWORK_ACL, acl_id) == pb.NetworkAcl(vpc_id=api.world.one.vpc_id)
    api.ec2.create_network_acl_entry(
        NetworkAclId=acl_id,
        RuleNumber=7,
        Protocol="1",
        RuleAction="allow",
        Egress=False,
        CidrBlock="10.0.0.0/8",
        IcmpTypeCode={"Type": 8, "Code": -1},
    )
    (entry,) = topic(api, pb.KIND_NETWORK_ACL, acl_id).entries
    assert entry == pb.NetworkAclEntry(
        rule_number=7, allow=True, protocol="1", cidr_block="10.0.0.0/8", from_port=8, to_port=-1
    )
    api.ec2.delete_network_acl_entry(NetworkAclId=acl_id, RuleNumber=7, Egress=False)
    assert not topic(api, pb.KIND_NETWORK_ACL, acl_id).entries
    api.ec2.delete_network_acl(NetworkAclId=acl_id)
    assert topic(api, pb.KIND_NETWORK_ACL, acl_id) is None


def test_a_subnets_acl(api, acl_id):
    subnet_id = api.world.one.subnet_ids[0]
    by_subnet = [{"Name": "association.subnet-id", "Values": [subnet_id]}]
    (acl,) = api.ec2.describe_network_acls(Filters=by_subnet)["NetworkAcls"]
    assert topic(api, pb.KIND_SUBNET, subnet_id).network_acl_id == acl["NetworkAclId"]
    association = next(one for one in acl["Associations"] if one["SubnetId"] == subnet_id)["NetworkAclAssociationId"]
    api.ec2.replace_network_acl_association(AssociationId=association, NetworkAclId=acl_id)
    assert topic(api, pb.KIND_SUBNET, subnet_id).network_acl_id == acl_id


def test_groups_come_and_go(api):
    group_id = api.ec2.create_security_group(GroupName="web", Description="d")["GroupId"]
    (rule,) = topic(api, pb.KIND_SECURITY_GROUP, group_id).rules
    assert (rule.egress, rule.cidr_ipv4) == (True, "0.0.0.0/0")
    change = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIpv6": "::/0"}
    api.ec2.modify_security_group_rules(
        GroupId=group_id, SecurityGroupRules=[{"SecurityGroupRuleId": rule.id, "SecurityGroupRule": change}]
    )
    (changed,) = topic(api, pb.KIND_SECURITY_GROUP, group_id).rules
    assert (changed.protocol, changed.from_port, changed.cidr_ipv6) == ("tcp", 443, "::/0")
    api.ec2.delete_security_group(GroupId=group_id)
    assert topic(api, pb.KIND_SECURITY_GROUP, group_id) is None


def test_prefix_lists_are_written_out(api):
    group_id = api.world.one.group_id
    entries = [{"Cidr": "10.0.0.0/8"}]
    made = api.ec2.create_managed_prefix_list(PrefixListName="n", AddressFamily="IPv4", MaxEntries=5, Entries=entries)[
        "PrefixList"
    ]
    listed = {"IpProtocol": "-1", "PrefixListIds": [{"PrefixListId": made["PrefixListId"]}]}
    api.ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=[listed])

    def blocks():
        rules = topic(api, pb.KIND_SECURITY_GROUP, group_id).rules
        return [list(rule.prefix_list.cidr_blocks) for rule in rules if rule.HasField("prefix_list")]

    assert blocks() == [["10.0.0.0/8"]]
    more = [{"Cidr": "192.168.0.0/16"}]
    api.ec2.modify_managed_prefix_list(PrefixListId=made["PrefixListId"], CurrentVersion=1, AddEntries=more)
    assert blocks() == [["10.0.0.0/8", "192.168.0.0/16"]]
    api.ec2.restore_managed_prefix_list_version(PrefixListId=made["PrefixListId"], PreviousVersion=1, CurrentVersion=2)
    assert blocks() == [["10.0.0.0/8"]]


def test_peerings_and_rules_through_them(api, near, far, pending):  # noqa: F811 - fixtures
    api.other.accept_vpc_peering_connection(VpcPeeringConnectionId=pending)
    assert topic(api, pb.KIND_PEERING, f"{pending}:{near}") == pb.Peering(
        vpc_id=near, peer_vpc_id=far, peering_id=pending, peer_cidr_blocks=["10.2.0.0/16"]
    )
    assert topic(api, pb.KIND_PEERING, f"{pending}:{far}").peer_cidr_blocks == ["10.1.0.0/16"]
    theirs = api.other.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [far]}])["SecurityGroups"]
    ours = api.ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [near]}])["SecurityGroups"]
    pair = {"GroupId": theirs[0]["GroupId"], "UserId": api.world.other.caller.account_id}
    permission = {"IpProtocol": "-1", "UserIdGroupPairs": [pair]}
    api.ec2.authorize_security_group_ingress(GroupId=ours[0]["GroupId"], IpPermissions=[permission])

    def peers():
        return {rule.group_id for rule in topic(api, pb.KIND_SECURITY_GROUP, ours[0]["GroupId"]).rules}

    assert theirs[0]["GroupId"] in peers()
    api.other.delete_vpc_peering_connection(VpcPeeringConnectionId=pending)
    assert topic(api, pb.KIND_PEERING, f"{pending}:{near}") is None
    assert topic(api, pb.KIND_PEERING, f"{pending}:{far}") is None
    assert theirs[0]["GroupId"] not in peers()  # the rule is stale: it allows nothing
    api.run(notify_hosts.peerings_of, near)
    assert topic(api, pb.KIND_PEERING, f"{pending}:{far}") is None


def test_flow_logs(api):
    asked = {"ResourceIds": [api.world.one.vpc_id], "ResourceType": "VPC", "LogGroupName": "flows"}
    (log_id,) = api.ec2.create_flow_logs(TrafficType="REJECT", MaxAggregationInterval=60, **asked)["FlowLogIds"]
    log = topic(api, pb.KIND_FLOW_LOG, log_id)
    assert (log.accepted, log.rejected, log.aggregation_seconds, log.log_group) == (False, True, 60, "flows")
    assert log.format.startswith("${version} ${account-id}")
    api.ec2.delete_flow_logs(FlowLogIds=[log_id])
    assert topic(api, pb.KIND_FLOW_LOG, log_id) is None


def test_a_vpc_drawn_whole_says_the_same(api, acl_id, near, pending):  # noqa: F811 - fixtures
    api.other.accept_vpc_peering_connection(VpcPeeringConnectionId=pending)
    for vpc_id in (api.world.one.vpc_id, near):
        api.run(topics.draw_vpc, vpc_id)
    before = api.dump()["vpc_resources"]
    assert acl_id in {row[2] for row in before}
    for vpc_id in (api.world.one.vpc_id, near):
        api.run(topics.draw_vpc, vpc_id)
    assert api.dump()["vpc_resources"] == before


def main_table(api, vpc_id):
    by_vpc = [{"Name": "vpc-id", "Values": [vpc_id]}, {"Name": "association.main", "Values": ["true"]}]
    (table,) = api.ec2.describe_route_tables(Filters=by_vpc)["RouteTables"]
    return table["RouteTableId"]


def test_routes_through_a_peering_end_with_it(api):
    first, second = (api.ec2.create_vpc(CidrBlock=f"10.{n}.0.0/16")["Vpc"]["VpcId"] for n in (8, 9))
    asked = api.ec2.create_vpc_peering_connection(VpcId=first, PeerVpcId=second)["VpcPeeringConnection"]
    peering_id = asked["VpcPeeringConnectionId"]
    api.ec2.accept_vpc_peering_connection(VpcPeeringConnectionId=peering_id)
    table = main_table(api, first)
    api.ec2.create_route(RouteTableId=table, DestinationCidrBlock="10.9.0.0/16", VpcPeeringConnectionId=peering_id)
    (route,) = topic(api, pb.KIND_ROUTE_TABLE, table).routes
    assert (route.destination, route.peer_vpc_id) == ("10.9.0.0/16", second)
    api.ec2.associate_vpc_cidr_block(VpcId=second, CidrBlock="10.10.0.0/16")
    assert topic(api, pb.KIND_PEERING, f"{peering_id}:{first}").peer_cidr_blocks == ["10.9.0.0/16", "10.10.0.0/16"]
    api.ec2.delete_vpc_peering_connection(VpcPeeringConnectionId=peering_id)
    (route,) = topic(api, pb.KIND_ROUTE_TABLE, table).routes
    assert route.blackhole


def test_routes_to_prefix_lists(api):
    made = api.ec2.create_managed_prefix_list(
        PrefixListName="n", AddressFamily="IPv4", MaxEntries=5, Entries=[{"Cidr": "192.0.2.0/24"}]
    )["PrefixList"]["PrefixListId"]
    table = main_table(api, api.world.one.vpc_id)
    (gateway,) = api.ec2.describe_internet_gateways()["InternetGateways"]
    api.ec2.create_route(RouteTableId=table, DestinationPrefixListId=made, GatewayId=gateway["InternetGatewayId"])
    users = api.ec2.get_managed_prefix_list_associations(PrefixListId=made)["PrefixListAssociations"]
    assert [one["ResourceId"] for one in users] == [table]
    api.refused("DependencyViolation", api.ec2.delete_managed_prefix_list, PrefixListId=made)
    more = [{"Cidr": "198.51.100.0/24"}]
    api.ec2.modify_managed_prefix_list(PrefixListId=made, CurrentVersion=1, AddEntries=more)
    with_network = {route.destination for route in topic(api, pb.KIND_ROUTE_TABLE, table).routes}
    assert with_network == {"0.0.0.0/0", "192.0.2.0/24", "198.51.100.0/24"}
