"""Texts of users stand for themselves or are refused: no quote, line or bracket of theirs means anything to anybody.

Each field that keeps a text is given each of the words that mean something to SQL, XML, a shell, nft, dnsmasq, JSON or
a terminal. What is accepted comes back as it was, wherever it is shown; what is refused is refused as the client's
fault, and nothing else has changed.
"""

import itertools
import re
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, ParamValidationError

WORDS = (
    "'; DROP TABLE instances; --",
    '" OR 1=1 --',
    "%' ESCAPE '\\",
    "<x>&amp;</x>",
    "]]><name>x</name>",
    "<!-- --><?xml version='1.0'?>",
    "$(reboot) `id` ; | & > x",
    "-x --output=/etc/passwd",
    "a\nb\r\nc",
    "}; flush ruleset; {",
    "dhcp-option=6,198.51.100.1",
    "../../etc/shadow",
    "{{7*7}} ${7*7} %s %n {0}",
    "\x1b[2J\x07",
    "null\x00byte",
    "\u202e\u0000é\U0001f600\ud7ff",
    "x" * 300,
)


def of_tag_key(api, word):
    api.ec2.create_tags(Resources=[api.world.one.vpc_id], Tags=[{"Key": word, "Value": "v"}])
    found = api.ec2.describe_tags(Filters=[{"Name": "value", "Values": ["v"]}])["Tags"]
    api.ec2.delete_tags(Resources=[api.world.one.vpc_id], Tags=[{"Key": word}])
    return [tag["Key"] for tag in found]


def of_tag_value(api, word):
    api.ec2.create_tags(Resources=[api.world.one.vpc_id], Tags=[{"Key": "k", "Value": word}])
    [vpc] = api.ec2.describe_vpcs(VpcIds=[api.world.one.vpc_id])["Vpcs"]
    return [tag["Value"] for tag in vpc["Tags"]]


def of_filter(api, word):
    api.ec2.create_tags(Resources=[api.world.one.vpc_id], Tags=[{"Key": "k", "Value": word}])
    plain = word.replace("\\", "\\\\").replace("*", "\\*").replace("?", "\\?")
    found = api.ec2.describe_vpcs(Filters=[{"Name": "tag:k", "Values": [plain]}])["Vpcs"]
    return [word for vpc in found if vpc["VpcId"] == api.world.one.vpc_id]


def of_group_name(api, word):
    group_id = api.ec2.create_security_group(GroupName=word, Description="d")["GroupId"]
    [group] = api.ec2.describe_security_groups(GroupIds=[group_id])["SecurityGroups"]
    api.ec2.delete_security_group(GroupId=group_id)
    return [group["GroupName"]]


def of_group_description(api, word):
    group_id = api.ec2.create_security_group(GroupName="g", Description=word)["GroupId"]
    [group] = api.ec2.describe_security_groups(GroupIds=[group_id])["SecurityGroups"]
    api.ec2.delete_security_group(GroupId=group_id)
    return [group["Description"]]


def of_rule_description(api, word):
    group_id = api.ec2.create_security_group(GroupName="r", Description="d")["GroupId"]
    ranges = [{"CidrIp": "192.0.2.0/24", "Description": word}]
    try:
        permission = {"IpProtocol": "tcp", "FromPort": 1, "ToPort": 1, "IpRanges": ranges}
        api.ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=[permission])
        [group] = api.ec2.describe_security_groups(GroupIds=[group_id])["SecurityGroups"]
    finally:
        api.ec2.delete_security_group(GroupId=group_id)
    return [one["Description"] for one in group["IpPermissions"][0]["IpRanges"]]


def of_key_name(api, word):
    api.ec2.create_key_pair(KeyName=word, KeyType="ed25519")
    names = [pair["KeyName"] for pair in api.ec2.describe_key_pairs()["KeyPairs"]]
    api.ec2.delete_key_pair(KeyName=word)
    return names


def of_interface_description(api, word):
    made = api.ec2.create_network_interface(SubnetId=api.world.one.subnet_ids[0], Description=word)["NetworkInterface"]
    interface_id = made["NetworkInterfaceId"]
    [found] = api.ec2.describe_network_interfaces(NetworkInterfaceIds=[interface_id])["NetworkInterfaces"]
    api.ec2.delete_network_interface(NetworkInterfaceId=interface_id)
    return [found["Description"]]


def of_domain_name(api, word):
    wanted = [{"Key": "domain-name", "Values": [word]}]
    options_id = api.ec2.create_dhcp_options(DhcpConfigurations=wanted)["DhcpOptions"]["DhcpOptionsId"]
    [found] = api.ec2.describe_dhcp_options(DhcpOptionsIds=[options_id])["DhcpOptions"]
    api.ec2.delete_dhcp_options(DhcpOptionsId=options_id)
    return [value["Value"] for value in found["DhcpConfigurations"][0]["Values"]]


def of_client_token(api, word):
    request = {"AvailabilityZone": "us-east-1a", "Size": 1, "ClientToken": word}
    first, again = (api.ec2.create_volume(**request)["VolumeId"] for _ in range(2))
    api.ec2.delete_volume(VolumeId=first)
    return [word] if first == again else ["another volume"]


def of_user_name(api, word):
    iam = api.client(api.world.one, "iam")
    iam.create_user(UserName=word)
    names = [user["UserName"] for user in iam.list_users()["Users"]]
    iam.delete_user(UserName=word)
    return names


FIELDS: dict[str, Callable[[Any, str], list[str]]] = {
    name.removeprefix("of_"): function for name, function in dict(globals()).items() if name.startswith("of_")
}


def test_texts_stand_for_themselves_or_are_refused(api):
    tables = set(api.dump())
    wrong, accepted = [], set()
    for field, word in itertools.product(FIELDS, WORDS):
        try:
            shown = FIELDS[field](api, word)
        except ParamValidationError:
            continue  # the client itself sends no such text
        except ClientError as refusal:
            status = refusal.response["ResponseMetadata"]["HTTPStatusCode"]
            wrong += [(field, word, status)] if not 400 <= status < 500 else []
            continue
        accepted.add(field)
        wrong += [(field, word, shown)] if _as_xml_has_it(word) not in map(_as_xml_has_it, shown) else []
    assert wrong == []
    assert accepted == set(FIELDS) - _STRICT
    assert set(api.dump()) == tables
    assert len(api.ec2.describe_vpcs()["Vpcs"]) == 1


def _as_xml_has_it(word):
    """Characters that XML cannot carry, not even as a reference, are shown as U+FFFD."""
    return re.sub("[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f]", "\N{REPLACEMENT CHARACTER}", word)


_STRICT = {"domain_name"}  # none of the words is one


def test_an_id_is_no_place_for_words(api):
    for word in WORDS:
        calls = (
            (api.ec2.describe_instances, {"InstanceIds": [word]}),
            (api.ec2.delete_volume, {"VolumeId": word}),
            (api.ec2.describe_snapshots, {"SnapshotIds": [word]}),
            (api.ec2.delete_subnet, {"SubnetId": word}),
            (api.ec2.describe_vpcs, {"Filters": [{"Name": word, "Values": ["x"]}]}),
            (api.ec2.describe_vpcs, {"NextToken": word}),
        )
        for call, params in calls:
            with pytest.raises((ClientError, ParamValidationError)) as refusal:
                call(**params)
            if isinstance(refusal.value, ClientError):
                assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
