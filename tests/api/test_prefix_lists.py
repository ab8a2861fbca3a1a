"""Managed prefix lists through boto3: versions, sizes, and rules that name them."""

import pytest

TEN = {"Cidr": "10.0.0.0/8", "Description": "ten"}
HOME = {"Cidr": "192.168.0.0/16"}


@pytest.fixture
def list_id(api):
    return create(api)["PrefixListId"]


def create(api, entries=(TEN,), **params):
    values = {"PrefixListName": "offices", "AddressFamily": "IPv4", "MaxEntries": 5, "Entries": list(entries)}
    return api.ec2.create_managed_prefix_list(**values | params)["PrefixList"]


def blocks(api, list_id, **params):
    found = api.ec2.get_managed_prefix_list_entries(PrefixListId=list_id, **params)["Entries"]
    return [one["Cidr"] for one in found]


def show(api, list_id):
    return api.ec2.describe_managed_prefix_lists(PrefixListIds=[list_id])["PrefixLists"][0]


def test_a_new_list(api):
    tags = [{"ResourceType": "prefix-list", "Tags": [{"Key": "Name", "Value": "o"}]}]
    made = create(api, [TEN, {"Cidr": "10.1.2.3/16"}], TagSpecifications=tags)
    account = api.world.one.caller.account_id
    assert made == {
        "PrefixListId": made["PrefixListId"],
        "AddressFamily": "IPv4",
        "State": "create-complete",
        "PrefixListArn": f"arn:aws:ec2:us-east-1:{account}:prefix-list/{made['PrefixListId']}",
        "PrefixListName": "offices",
        "MaxEntries": 5,
        "Version": 1,
        "Tags": [{"Key": "Name", "Value": "o"}],
        "OwnerId": account,
    }
    entries = api.ec2.get_managed_prefix_list_entries(PrefixListId=made["PrefixListId"])["Entries"]
    assert entries == [TEN, {"Cidr": "10.1.0.0/16"}]
    assert show(api, made["PrefixListId"]) == made


def test_a_client_token_makes_one_list(api):
    first = create(api, ClientToken="once")
    assert create(api, ClientToken="once") == first
    params = {"PrefixListName": "x", "AddressFamily": "IPv4", "MaxEntries": 5, "ClientToken": "once"}
    api.refused("IdempotentParameterMismatch", api.ec2.create_managed_prefix_list, **params)


def test_versions(api, list_id):
    modify = api.ec2.modify_managed_prefix_list
    second = modify(PrefixListId=list_id, CurrentVersion=1, AddEntries=[HOME])["PrefixList"]
    assert (second["Version"], second["State"]) == (2, "modify-complete")
    third = modify(PrefixListId=list_id, CurrentVersion=2, RemoveEntries=[{"Cidr": "10.0.0.0/8"}])["PrefixList"]
    assert third["Version"] == 3
    assert blocks(api, list_id) == ["192.168.0.0/16"]
    assert blocks(api, list_id, TargetVersion=2) == ["10.0.0.0/8", "192.168.0.0/16"]
    assert blocks(api, list_id, TargetVersion=1) == ["10.0.0.0/8"]
    code = "PrefixListVersionMismatch"
    api.refused(code, modify, PrefixListId=list_id, CurrentVersion=2, AddEntries=[TEN])
    restore = api.ec2.restore_managed_prefix_list_version
    api.refused(code, restore, PrefixListId=list_id, PreviousVersion=1, CurrentVersion=2)
    fourth = restore(PrefixListId=list_id, PreviousVersion=1, CurrentVersion=3)["PrefixList"]
    assert (fourth["Version"], fourth["State"]) == (4, "restore-complete")
    assert api.ec2.get_managed_prefix_list_entries(PrefixListId=list_id)["Entries"] == [TEN]
    assert blocks(api, list_id, TargetVersion=3) == ["192.168.0.0/16"]
    api.refused(
        "InvalidPrefixListVersion", api.ec2.get_managed_prefix_list_entries, PrefixListId=list_id, TargetVersion=5
    )


def test_a_description_changes_by_adding_the_block_again(api, list_id):
    again = TEN | {"Description": "other"}
    api.ec2.modify_managed_prefix_list(PrefixListId=list_id, CurrentVersion=1, AddEntries=[again])
    assert api.ec2.get_managed_prefix_list_entries(PrefixListId=list_id)["Entries"] == [again]
    assert api.ec2.get_managed_prefix_list_entries(PrefixListId=list_id, TargetVersion=1)["Entries"] == [TEN]


def test_name_and_size_make_no_version(api, list_id):
    modify = api.ec2.modify_managed_prefix_list
    changed = modify(PrefixListId=list_id, PrefixListName="homes", MaxEntries=1)["PrefixList"]
    assert (changed["PrefixListName"], changed["MaxEntries"], changed["Version"]) == ("homes", 1, 1)
    code = "PrefixListMaxEntriesExceeded"
    api.refused(code, modify, PrefixListId=list_id, CurrentVersion=1, AddEntries=[HOME])
    both = {"AddEntries": [HOME], "CurrentVersion": 1, "MaxEntries": 9}
    api.refused("InvalidParameterCombination", modify, PrefixListId=list_id, **both)


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("InvalidParameterValue", {"PrefixListName": "com.amazonaws.mine"}),
        ("MissingParameter", {"PrefixListName": ""}),
        ("InvalidParameterValue", {"AddressFamily": "IPv5"}),
        ("InvalidParameterValue", {"MaxEntries": 0}),
        ("InvalidParameterValue", {"MaxEntries": 1001}),
        ("InvalidParameterValue", {"Entries": [{"Cidr": "::/0"}]}),
        ("InvalidParameterValue", {"Entries": [{"Cidr": "10.0.0.0"}]}),
        ("InvalidParameterValue", {"Entries": [{"Cidr": "10.0.0.1/8"}, {"Cidr": "10.0.0.2/8"}]}),
        ("PrefixListMaxEntriesExceeded", {"MaxEntries": 1, "Entries": [TEN, HOME]}),
    ],
)
def test_bad_lists_change_nothing(api, code, changes):
    values = {"PrefixListName": "offices", "AddressFamily": "IPv4", "MaxEntries": 5}
    api.refused(code, api.ec2.create_managed_prefix_list, **values | changes)


def test_bad_changes_change_nothing(api, list_id):
    modify = api.ec2.modify_managed_prefix_list
    api.refused("MissingParameter", modify, PrefixListId=list_id, AddEntries=[HOME])
    absent = {"CurrentVersion": 1, "RemoveEntries": [{"Cidr": "1.0.0.0/8"}]}
    api.refused("InvalidParameterValue", modify, PrefixListId=list_id, **absent)
    both = {"CurrentVersion": 1, "AddEntries": [TEN], "RemoveEntries": [{"Cidr": "10.0.0.0/8"}]}
    api.refused("InvalidParameterValue", modify, PrefixListId=list_id, **both)
    api.refused("InvalidPrefixListID.NotFound", modify, PrefixListId="pl-00000000000000000")
    api.refused("InvalidPrefixListId.Malformed", modify, PrefixListId="pl-x")


def test_rules_name_lists(api, list_id):
    group_id = api.world.one.group_id
    listed = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22}
    peer = {"PrefixListIds": [{"PrefixListId": list_id, "Description": "offices"}]}
    made = api.ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=[listed | peer])
    (rule,) = made["SecurityGroupRules"]
    assert rule["PrefixListId"] == list_id
    by = [{"Name": "ip-permission.prefix-list-id", "Values": [list_id]}]
    (group,) = api.ec2.describe_security_groups(Filters=by)["SecurityGroups"]
    shown = next(one for one in group["IpPermissions"] if one["IpProtocol"] == "tcp")
    assert shown["PrefixListIds"] == peer["PrefixListIds"]
    users = api.ec2.get_managed_prefix_list_associations(PrefixListId=list_id)["PrefixListAssociations"]
    assert users == [{"ResourceId": group_id, "ResourceOwner": api.world.one.caller.account_id}]
    api.refused("DependencyViolation", api.ec2.delete_managed_prefix_list, PrefixListId=list_id)
    api.ec2.revoke_security_group_ingress(GroupId=group_id, IpPermissions=[listed | peer])
    gone = api.ec2.delete_managed_prefix_list(PrefixListId=list_id)["PrefixList"]
    assert gone["State"] == "delete-complete"
    api.refused("InvalidPrefixListID.NotFound", api.ec2.describe_managed_prefix_lists, PrefixListIds=[list_id])


def test_a_list_counts_with_its_size(api):
    group_id = api.world.one.group_id
    big = create(api, MaxEntries=60)["PrefixListId"]
    fitting = create(api, MaxEntries=59, PrefixListName="fits")["PrefixListId"]  # the group has one rule
    sixth = create(api, [], MaxEntries=59, AddressFamily="IPv6", PrefixListName="six")["PrefixListId"]

    def permission(list_id):
        return [{"IpProtocol": "-1", "PrefixListIds": [{"PrefixListId": list_id}]}]

    allow = api.ec2.authorize_security_group_ingress
    code = "RulesPerSecurityGroupLimitExceeded"
    api.refused(code, allow, GroupId=group_id, IpPermissions=permission(big))
    allow(GroupId=group_id, IpPermissions=permission(fitting))
    allow(GroupId=group_id, IpPermissions=permission(sixth))
    api.refused(code, api.ec2.modify_managed_prefix_list, PrefixListId=fitting, MaxEntries=60)
    api.ec2.modify_managed_prefix_list(PrefixListId=fitting, MaxEntries=58)


def test_pages_and_filters(api, list_id):
    other = create(api, PrefixListName="others", MaxEntries=20)["PrefixListId"]
    more = [{"Cidr": f"10.{number}.0.0/16"} for number in range(8)]
    api.ec2.modify_managed_prefix_list(PrefixListId=other, CurrentVersion=1, AddEntries=more)
    pages = api.ec2.get_paginator("get_managed_prefix_list_entries").paginate(
        PrefixListId=other, PaginationConfig={"PageSize": 5}
    )
    assert [len(page["Entries"]) for page in pages] == [5, 4]

    def by(name, value):
        found = api.ec2.describe_managed_prefix_lists(Filters=[{"Name": name, "Values": [value]}])["PrefixLists"]
        return {one["PrefixListId"] for one in found}

    assert by("prefix-list-name", "other?") == by("prefix-list-id", other) == {other}
    assert by("owner-id", api.world.one.caller.account_id) == {list_id, other}
    shown = api.ec2.describe_prefix_lists()["PrefixLists"]  # of services only
    assert {one["PrefixListId"] for one in shown}.isdisjoint({list_id, other})
    api.refused("InvalidPrefixListID.NotFound", api.ec2.describe_prefix_lists, PrefixListIds=[list_id])
