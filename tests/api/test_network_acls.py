"""Network ACLs through boto3."""

import pytest


@pytest.fixture
def default(api):
    (acl,) = api.ec2.describe_network_acls()["NetworkAcls"]
    return acl


@pytest.fixture
def acl_id(api):
    return api.ec2.create_network_acl(VpcId=api.world.one.vpc_id)["NetworkAcl"]["NetworkAclId"]


def entries(api, acl_id, *, egress=False):
    (acl,) = api.ec2.describe_network_acls(NetworkAclIds=[acl_id])["NetworkAcls"]
    return [one for one in acl["Entries"] if one["Egress"] is egress]


WEB = {
    "RuleNumber": 110,
    "Protocol": "6",
    "RuleAction": "allow",
    "Egress": False,
    "CidrBlock": "0.0.0.0/0",
    "PortRange": {"From": 80, "To": 81},
}


def test_the_default_acl_allows_everything(api, default):
    assert default["IsDefault"] is True
    assert default["OwnerId"] == api.world.one.caller.account_id
    assert {one["SubnetId"] for one in default["Associations"]} == set(api.world.one.subnet_ids)
    shown = [(one["RuleNumber"], one["Egress"], one["RuleAction"], one["CidrBlock"]) for one in default["Entries"]]
    assert shown == [
        (100, True, "allow", "0.0.0.0/0"),
        (32767, True, "deny", "0.0.0.0/0"),
        (100, False, "allow", "0.0.0.0/0"),
        (32767, False, "deny", "0.0.0.0/0"),
    ]
    assert {one["Protocol"] for one in default["Entries"]} == {"-1"}


def test_a_new_acl_denies_everything_and_is_tagged(api):
    tags = [{"ResourceType": "network-acl", "Tags": [{"Key": "Name", "Value": "strict"}]}]
    made = api.ec2.create_network_acl(VpcId=api.world.one.vpc_id, TagSpecifications=tags)["NetworkAcl"]
    assert made["Tags"] == [{"Key": "Name", "Value": "strict"}]
    assert (made["IsDefault"], made["Associations"]) == (False, [])
    assert [one["RuleNumber"] for one in made["Entries"]] == [32767, 32767]
    found = api.ec2.describe_network_acls(Filters=[{"Name": "tag:Name", "Values": ["strict"]}])["NetworkAcls"]
    assert [one["NetworkAclId"] for one in found] == [made["NetworkAclId"]]


def test_a_client_token_makes_one_acl(api):
    call = api.ec2.create_network_acl
    first = call(VpcId=api.world.one.vpc_id, ClientToken="once")["NetworkAcl"]["NetworkAclId"]
    again = call(VpcId=api.world.one.vpc_id, ClientToken="once")["NetworkAcl"]["NetworkAclId"]
    assert first == again
    code = "IdempotentParameterMismatch"
    tags = [{"ResourceType": "network-acl", "Tags": [{"Key": "a", "Value": "b"}]}]
    api.refused(code, call, VpcId=api.world.one.vpc_id, ClientToken="once", TagSpecifications=tags)


def test_entries_are_made_replaced_and_deleted(api, acl_id):
    api.ec2.create_network_acl_entry(NetworkAclId=acl_id, **WEB)
    assert entries(api, acl_id)[0] == WEB
    api.refused("NetworkAclEntryAlreadyExists", api.ec2.create_network_acl_entry, NetworkAclId=acl_id, **WEB)
    api.ec2.create_network_acl_entry(NetworkAclId=acl_id, **WEB | {"Egress": True})
    ping = {"Protocol": "1", "IcmpTypeCode": {"Type": 8, "Code": -1}, "RuleAction": "deny"}
    api.ec2.replace_network_acl_entry(NetworkAclId=acl_id, RuleNumber=110, Egress=False, CidrBlock="10.1.2.3/8", **ping)
    shown = entries(api, acl_id)[0]
    assert shown == {"RuleNumber": 110, "Egress": False, "CidrBlock": "10.0.0.0/8", **ping}
    ipv6 = {"RuleNumber": 5, "Egress": False, "Protocol": "-1", "RuleAction": "allow", "Ipv6CidrBlock": "::/0"}
    api.ec2.create_network_acl_entry(NetworkAclId=acl_id, **ipv6)
    assert entries(api, acl_id)[0] == ipv6
    api.ec2.delete_network_acl_entry(NetworkAclId=acl_id, RuleNumber=110, Egress=False)
    assert [one["RuleNumber"] for one in entries(api, acl_id)] == [5, 32767]
    assert [one["RuleNumber"] for one in entries(api, acl_id, egress=True)] == [110, 32767]
    code = "InvalidNetworkAclEntry.NotFound"
    api.refused(code, api.ec2.delete_network_acl_entry, NetworkAclId=acl_id, RuleNumber=110, Egress=False)
    api.refused(code, api.ec2.replace_network_acl_entry, NetworkAclId=acl_id, **WEB)


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("InvalidParameterValue", {"RuleNumber": 32767}),
        ("InvalidParameterValue", {"RuleNumber": 0}),
        ("InvalidParameterValue", {"CidrBlock": "10.0.0.0/40"}),
        ("InvalidParameterValue", {"Protocol": "999"}),
        ("InvalidParameterValue", {"PortRange": {"From": 81, "To": 80}}),
        ("InvalidParameterCombination", {"Ipv6CidrBlock": "::/0"}),
        ("MissingParameter", {"PortRange": {"From": 1}}),
    ],
)
def test_bad_entries_change_nothing(api, acl_id, code, changes):
    api.refused(code, api.ec2.create_network_acl_entry, NetworkAclId=acl_id, **WEB | changes)


def test_the_final_denial_stays(api, acl_id):
    call = api.ec2.delete_network_acl_entry
    api.refused("InvalidParameterValue", call, NetworkAclId=acl_id, RuleNumber=32767, Egress=False)


def test_associations_move(api, default, acl_id):
    association = default["Associations"][0]
    moved = api.ec2.replace_network_acl_association(
        AssociationId=association["NetworkAclAssociationId"], NetworkAclId=acl_id
    )["NewAssociationId"]
    assert moved != association["NetworkAclAssociationId"]
    by_subnet = [{"Name": "association.subnet-id", "Values": [association["SubnetId"]]}]
    (acl,) = api.ec2.describe_network_acls(Filters=by_subnet)["NetworkAcls"]
    assert acl["NetworkAclId"] == acl_id
    assert acl["Associations"][0]["NetworkAclAssociationId"] == moved
    api.refused("DependencyViolation", api.ec2.delete_network_acl, NetworkAclId=acl_id)
    api.ec2.replace_network_acl_association(AssociationId=moved, NetworkAclId=default["NetworkAclId"])
    api.ec2.delete_network_acl(NetworkAclId=acl_id)
    api.refused("InvalidNetworkAclID.NotFound", api.ec2.delete_network_acl, NetworkAclId=acl_id)
    code = "InvalidAssociationID.NotFound"
    call = api.ec2.replace_network_acl_association
    api.refused(code, call, AssociationId=moved, NetworkAclId=default["NetworkAclId"])
    api.refused("InvalidParameterValue", api.ec2.delete_network_acl, NetworkAclId=default["NetworkAclId"])


def test_filters(api, default, acl_id):
    api.ec2.create_network_acl_entry(NetworkAclId=acl_id, **WEB)
    api.ec2.create_network_acl_entry(
        NetworkAclId=acl_id,
        RuleNumber=7,
        Egress=True,
        Protocol="58",
        RuleAction="deny",
        Ipv6CidrBlock="2001:db8::/32",
        IcmpTypeCode={"Type": 128, "Code": 0},
    )

    def by(name, *values):
        found = api.ec2.describe_network_acls(Filters=[{"Name": name, "Values": list(values)}])["NetworkAcls"]
        return {one["NetworkAclId"] for one in found}

    first = default["NetworkAclId"]
    assert by("default", "true") == {first}
    assert by("vpc-id", api.world.one.vpc_id) == {first, acl_id}
    assert by("network-acl-id", acl_id) == by("entry.protocol", "6") == by("entry.rule-number", "110") == {acl_id}
    assert by("entry.port-range.from", "80") == by("entry.port-range.to", "81") == {acl_id}
    assert by("entry.icmp.type", "128") == by("entry.icmp.code", "0") == by("entry.ipv6-cidr", "2001*") == {acl_id}
    assert by("entry.rule-action", "deny") == by("entry.egress", "true") == {first, acl_id}
    assert by("entry.cidr", "0.0.0.0/0") == by("owner-id", "1111*") == {first, acl_id}
    assert by("association.network-acl-id", first) == {first}
    pages = api.ec2.get_paginator("describe_network_acls").paginate(PaginationConfig={"PageSize": 5})
    assert {acl["NetworkAclId"] for page in pages for acl in page["NetworkAcls"]} == {first, acl_id}
