"""VPC peering connections through boto3, between VPCs of one account and of two."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from stead_controller.db.tables import VpcPeeringConnection
from stead_controller.resources import quotas
from stead_controller.resources.network import create_vpc, vpc_peering_connections
from tests.support.rows import CLOUD, NOW


def add_vpc(api, tenant, cidr, vni):
    def add(tx):
        vpc = create_vpc.add(tx, CLOUD, tenant.caller.account_id, cidr, NOW)
        vpc.vni = vni
        return vpc.id

    return api.run(add)


@pytest.fixture
def near(api):
    """A VPC of the first tenant, 10.1.0.0/16."""
    return add_vpc(api, api.world.one, "10.1.0.0/16", 101)


@pytest.fixture
def far(api):
    """A VPC of the second tenant, 10.2.0.0/16."""
    return add_vpc(api, api.world.other, "10.2.0.0/16", 102)


@pytest.fixture
def pending(api, near, far):
    """The id of a connection that the first tenant asked for and the second may accept."""
    return ask(api, near, far)["VpcPeeringConnectionId"]


def ask(api, vpc_id, peer_vpc_id, **params):
    params = {"PeerOwnerId": api.world.other.caller.account_id} | params
    made = api.ec2.create_vpc_peering_connection(VpcId=vpc_id, PeerVpcId=peer_vpc_id, **params)
    return made["VpcPeeringConnection"]


def show(client, peering_id):
    (found,) = client.describe_vpc_peering_connections(VpcPeeringConnectionIds=[peering_id])["VpcPeeringConnections"]
    return found


def status(client, peering_id):
    return show(client, peering_id)["Status"]["Code"]


def test_both_accounts_see_a_request_become_active(api, near, far):
    made = ask(api, near, far)
    peering_id = made["VpcPeeringConnectionId"]
    assert made["Status"]["Code"] == "initiating-request"
    assert made["RequesterVpcInfo"]["CidrBlock"] == "10.1.0.0/16"
    assert "CidrBlock" not in made["AccepterVpcInfo"]
    week = timedelta(days=7)
    assert abs(made["ExpirationTime"] - datetime.now(UTC) - week) < timedelta(minutes=5)
    assert status(api.ec2, peering_id) == status(api.other, peering_id) == "pending-acceptance"
    for client in (api.ec2, api.other):  # of whom has not accepted yet no more is shown, to nobody
        waiting = show(client, peering_id)["AccepterVpcInfo"]
        assert waiting == {"OwnerId": api.world.other.caller.account_id, "VpcId": far, "Region": "us-east-1"}
    accepted = api.other.accept_vpc_peering_connection(VpcPeeringConnectionId=peering_id)["VpcPeeringConnection"]
    assert accepted["Status"] == {"Code": "active", "Message": "Active"}
    for client in (api.ec2, api.other):
        found = show(client, peering_id)
        assert found["AccepterVpcInfo"]["CidrBlockSet"] == [{"CidrBlock": "10.2.0.0/16"}]
        assert found["AccepterVpcInfo"]["OwnerId"] == api.world.other.caller.account_id
        assert "ExpirationTime" not in found


def test_only_the_accepter_accepts_and_rejects(api, pending):
    code = "OperationNotPermitted"
    api.refused(code, api.ec2.accept_vpc_peering_connection, VpcPeeringConnectionId=pending)
    api.refused(code, api.ec2.reject_vpc_peering_connection, VpcPeeringConnectionId=pending)
    message = api.refused(
        "InvalidStateTransition", api.other.delete_vpc_peering_connection, VpcPeeringConnectionId=pending
    )
    # Terraform takes what says "to deleting" as done.
    assert message == (
        f"Invalid state transition for {pending}, attempted to transition from pending-acceptance to deleting"
    )
    api.other.reject_vpc_peering_connection(VpcPeeringConnectionId=pending)
    assert show(api.ec2, pending)["Status"] == {
        "Code": "rejected",
        "Message": f"Rejected by {api.world.other.caller.account_id}",
    }
    for call in (api.other.accept_vpc_peering_connection, api.other.reject_vpc_peering_connection):
        api.refused("InvalidStateTransition", call, VpcPeeringConnectionId=pending)


def test_the_requester_withdraws(api, pending):
    api.ec2.delete_vpc_peering_connection(VpcPeeringConnectionId=pending)
    assert status(api.other, pending) == "deleted"
    api.refused("InvalidStateTransition", api.ec2.delete_vpc_peering_connection, VpcPeeringConnectionId=pending)


@pytest.mark.parametrize("side", ["ec2", "other"])
def test_either_side_deletes_an_active_one(api, pending, side):
    api.other.accept_vpc_peering_connection(VpcPeeringConnectionId=pending)
    getattr(api, side).delete_vpc_peering_connection(VpcPeeringConnectionId=pending)
    assert status(api.ec2, pending) == status(api.other, pending) == "deleted"


def test_what_fails_is_shown_as_failed(api, near, far):
    overlapping = add_vpc(api, api.world.other, "10.1.128.0/17", 103)
    for peer, owner in [
        (overlapping, api.world.other.caller.account_id),
        ("vpc-00000000000000000", api.world.other.caller.account_id),
        (far, "999999999999"),
        (near, api.world.one.caller.account_id),
    ]:
        made = ask(api, near, peer, PeerOwnerId=owner)
        assert made["Status"]["Code"] == "initiating-request"
        found = show(api.ec2, made["VpcPeeringConnectionId"])
        assert found["Status"]["Code"] == "failed"
        assert "overlapping CIDR range" in found["Status"]["Message"]
    failed = made["VpcPeeringConnectionId"]
    message = api.refused(
        "InvalidStateTransition", api.ec2.accept_vpc_peering_connection, VpcPeeringConnectionId=failed
    )
    assert message.endswith("from failed to provisioning")


def test_bad_requests_change_nothing(api, near, far, pending):
    call = api.ec2.create_vpc_peering_connection
    peer = {"PeerOwnerId": api.world.other.caller.account_id}
    api.refused("VpcPeeringConnectionAlreadyExists", call, VpcId=near, PeerVpcId=far, **peer)
    api.refused("InvalidVpcID.NotFound", call, VpcId=far, PeerVpcId=near)
    api.refused("InvalidVpcID.NotFound", call, VpcId=near, PeerVpcId=far)
    api.refused("InvalidVpcID.Malformed", call, VpcId=near, PeerVpcId="vpc-far")
    api.refused("MissingParameter", call, VpcId=near)
    api.refused("InvalidParameterValue", call, VpcId=near, PeerVpcId=far, PeerRegion="eu-west-9", **peer)
    absent = "pcx-00000000000000000"
    code = "InvalidVpcPeeringConnectionID.NotFound"
    api.refused(code, api.ec2.delete_vpc_peering_connection, VpcPeeringConnectionId=absent)
    assert status(api.ec2, pending) == "pending-acceptance"


def test_quotas(api, near, far, pending):
    api.run(quotas.set_value, quotas.EVERYONE, quotas.OUTSTANDING_PEERINGS, 1)
    another = add_vpc(api, api.world.other, "10.3.0.0/16", 103)
    params = {"VpcId": near, "PeerVpcId": another, "PeerOwnerId": api.world.other.caller.account_id}
    call = api.ec2.create_vpc_peering_connection
    api.refused("OutstandingVpcPeeringConnectionLimitExceeded", call, **params)
    api.run(quotas.set_value, quotas.EVERYONE, quotas.ACTIVE_PEERINGS_PER_VPC, 0)
    code = "ActiveVpcPeeringConnectionPerVpcLimitExceeded"
    api.refused(code, api.other.accept_vpc_peering_connection, VpcPeeringConnectionId=pending)


def test_each_account_has_its_own_tags_and_options(api, pending):
    api.ec2.create_tags(Resources=[pending], Tags=[{"Key": "Name", "Value": "to them"}])
    api.other.create_tags(Resources=[pending], Tags=[{"Key": "Name", "Value": "to us"}])
    assert show(api.ec2, pending)["Tags"] == [{"Key": "Name", "Value": "to them"}]
    assert show(api.other, pending)["Tags"] == [{"Key": "Name", "Value": "to us"}]
    api.other.delete_tags(Resources=[pending])
    assert show(api.ec2, pending)["Tags"] == [{"Key": "Name", "Value": "to them"}]
    resolve = {"AllowDnsResolutionFromRemoteVpc": True}
    call = api.ec2.modify_vpc_peering_connection_options
    api.refused(
        "OperationNotPermitted", call, VpcPeeringConnectionId=pending, RequesterPeeringConnectionOptions=resolve
    )
    api.other.accept_vpc_peering_connection(VpcPeeringConnectionId=pending)
    api.refused("OperationNotPermitted", call, VpcPeeringConnectionId=pending, AccepterPeeringConnectionOptions=resolve)
    answer = call(VpcPeeringConnectionId=pending, RequesterPeeringConnectionOptions=resolve)
    assert answer["RequesterPeeringConnectionOptions"]["AllowDnsResolutionFromRemoteVpc"] is True
    assert "AccepterPeeringConnectionOptions" not in answer
    found = show(api.other, pending)
    assert found["RequesterVpcInfo"]["PeeringOptions"]["AllowDnsResolutionFromRemoteVpc"] is True
    assert found["AccepterVpcInfo"]["PeeringOptions"]["AllowDnsResolutionFromRemoteVpc"] is False


def test_time_ends_requests_and_forgets_what_ended(api, pending):
    end = show(api.ec2, pending)["ExpirationTime"]
    moment = timedelta(seconds=1)
    api.run(vpc_peering_connections.expire, end - moment)
    assert status(api.ec2, pending) == "pending-acceptance"
    api.run(vpc_peering_connections.expire, end)
    assert status(api.ec2, pending) == status(api.other, pending) == "expired"
    api.run(vpc_peering_connections.expire, end + timedelta(days=2) - moment)
    assert status(api.ec2, pending) == "expired"
    api.run(vpc_peering_connections.expire, end + timedelta(days=2))
    assert api.ec2.describe_vpc_peering_connections()["VpcPeeringConnections"] == []


def test_a_late_acceptance_is_refused(api, pending):
    late = update(VpcPeeringConnection).values(expires=NOW - timedelta(seconds=1))
    api.run(lambda tx: tx.session.execute(late))
    api.refused("InvalidStateTransition", api.other.accept_vpc_peering_connection, VpcPeeringConnectionId=pending)


def test_the_connections_of_a_vpc_end_with_it(api, near, pending):
    api.run(vpc_peering_connections.end_of_vpc, near, api.world.one.caller.account_id, NOW)
    assert status(api.other, pending) == "deleted"


def test_filters_and_pages(api, near, far, pending):
    def by(name, value):
        asked = [{"Name": name, "Values": [value]}]
        found = api.ec2.describe_vpc_peering_connections(Filters=asked)["VpcPeeringConnections"]
        return [one["VpcPeeringConnectionId"] for one in found]

    one, other = api.world.one.caller.account_id, api.world.other.caller.account_id
    for name, value in [
        ("accepter-vpc-info.cidr-block", "10.2.0.0/16"),
        ("accepter-vpc-info.owner-id", other),
        ("accepter-vpc-info.vpc-id", far),
        ("expiration-time", "20*Z"),
        ("requester-vpc-info.cidr-block", "10.1.*"),
        ("requester-vpc-info.owner-id", one),
        ("requester-vpc-info.vpc-id", near),
        ("status-code", "pending-acceptance"),
        ("status-message", "Pending*"),
        ("vpc-peering-connection-id", pending),
    ]:
        assert by(name, value) == [pending], name
    assert by("status-code", "active") == []
    pages = api.ec2.get_paginator("describe_vpc_peering_connections").paginate(PaginationConfig={"PageSize": 5})
    assert [len(page["VpcPeeringConnections"]) for page in pages] == [1]


def test_groups_across_a_peering(api, near, far, pending):
    theirs = api.other.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [far]}])["SecurityGroups"]
    ours = api.ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [near]}])["SecurityGroups"]
    their_id, our_id = theirs[0]["GroupId"], ours[0]["GroupId"]
    owner = api.world.other.caller.account_id
    permission = {
        "IpProtocol": "tcp",
        "FromPort": 5432,
        "ToPort": 5432,
        "UserIdGroupPairs": [{"GroupId": their_id, "UserId": owner}],
    }
    allow = api.ec2.authorize_security_group_ingress
    api.refused("InvalidGroup.NotFound", allow, GroupId=our_id, IpPermissions=[permission])
    api.other.accept_vpc_peering_connection(VpcPeeringConnectionId=pending)
    nameless = [permission | {"UserIdGroupPairs": [{"GroupId": their_id}]}]
    api.refused("InvalidGroup.NotFound", allow, GroupId=our_id, IpPermissions=nameless)
    for wrong, code in [
        ({"VpcId": near}, "InvalidGroup.NotFound"),
        ({"VpcPeeringConnectionId": "pcx-00000000000000000"}, "InvalidVpcPeeringConnectionID.NotFound"),
    ]:
        pair = {"GroupId": their_id, "UserId": owner} | wrong
        api.refused(code, allow, GroupId=our_id, IpPermissions=[permission | {"UserIdGroupPairs": [pair]}])
    own = {"GroupId": our_id, "VpcPeeringConnectionId": pending}
    code = "InvalidVpcPeeringConnectionID.NotFound"
    api.refused(code, allow, GroupId=our_id, IpPermissions=[permission | {"UserIdGroupPairs": [own]}])
    (rule,) = allow(GroupId=our_id, IpPermissions=[permission])["SecurityGroupRules"]
    reached = {"GroupId": their_id, "UserId": owner, "VpcId": far, "VpcPeeringConnectionId": pending}
    assert rule["ReferencedGroupInfo"] == reached | {"PeeringStatus": "active"}
    (group,) = api.ec2.describe_security_groups(GroupIds=[our_id])["SecurityGroups"]
    pairs = next(one for one in group["IpPermissions"] if one["IpProtocol"] == "tcp")["UserIdGroupPairs"]
    assert pairs == [reached | {"PeeringStatus": "active"}]
    (reference,) = api.other.describe_security_group_references(GroupId=[their_id])["SecurityGroupReferenceSet"]
    assert reference == {"GroupId": their_id, "ReferencingVpcId": near, "VpcPeeringConnectionId": pending}
    assert api.ec2.describe_stale_security_groups(VpcId=near)["StaleSecurityGroupSet"] == []
    user = [{"Name": "ip-permission.user-id", "Values": [owner]}]
    assert api.ec2.describe_security_groups(Filters=user)["SecurityGroups"][0]["GroupId"] == our_id

    api.ec2.delete_vpc_peering_connection(VpcPeeringConnectionId=pending)
    (stale,) = api.ec2.describe_stale_security_groups(VpcId=near)["StaleSecurityGroupSet"]
    assert (stale["GroupId"], stale["VpcId"]) == (our_id, near)
    (one,) = stale["StaleIpPermissions"]
    assert one["UserIdGroupPairs"] == [reached | {"PeeringStatus": "deleted"}]
    assert (one["FromPort"], stale["StaleIpPermissionsEgress"]) == (5432, [])
    assert api.other.describe_security_group_references(GroupId=[their_id])["SecurityGroupReferenceSet"] == []
    # A stale rule is still revoked by what it allows.
    gone = api.ec2.revoke_security_group_ingress(GroupId=our_id, IpPermissions=stale["StaleIpPermissions"])
    assert gone["RevokedSecurityGroupRules"][0]["SecurityGroupRuleId"] == rule["SecurityGroupRuleId"]
    assert api.ec2.describe_stale_security_groups(VpcId=near)["StaleSecurityGroupSet"] == []


def test_a_peered_group_may_be_deleted(api, near, far, pending):
    api.other.accept_vpc_peering_connection(VpcPeeringConnectionId=pending)
    group = api.other.create_security_group(GroupName="db", Description="d", VpcId=far)["GroupId"]
    our_id = api.ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [near]}])["SecurityGroups"][0][
        "GroupId"
    ]
    pair = {"GroupId": group, "UserId": api.world.other.caller.account_id}
    permission = {"IpProtocol": "-1", "UserIdGroupPairs": [pair]}
    api.ec2.authorize_security_group_egress(GroupId=our_id, IpPermissions=[permission])
    api.other.delete_security_group(GroupId=group)
    (stale,) = api.ec2.describe_stale_security_groups(VpcId=near)["StaleSecurityGroupSet"]
    assert stale["StaleIpPermissionsEgress"][0]["UserIdGroupPairs"][0]["GroupId"] == group
