"""Network Insights through boto3: questions are stored and answered from the rows as they are."""

import re

import pytest

from stead_controller.aws.protocol.models import load_service
from stead_controller.request.conditions import Selection
from stead_controller.resources.network import network_insights

TOKEN = iter(range(10**6))


def make_path(api, source, destination=None, **params):
    if destination is not None:
        params["Destination"] = destination
    values = {"Protocol": "tcp", "DestinationPort": 22, "ClientToken": f"path-{next(TOKEN)}"} | params
    return api.ec2.create_network_insights_path(Source=source, **values)["NetworkInsightsPath"]


def analyse(api, path_id):
    """Start an analysis and give what it found."""
    token = f"analysis-{next(TOKEN)}"
    begun = api.ec2.start_network_insights_analysis(NetworkInsightsPathId=path_id, ClientToken=token)
    assert begun["NetworkInsightsAnalysis"]["Status"] == "running"
    found = api.ec2.describe_network_insights_analyses(
        NetworkInsightsAnalysisIds=[begun["NetworkInsightsAnalysis"]["NetworkInsightsAnalysisId"]]
    )
    return found["NetworkInsightsAnalyses"][0]


def ask(api, source, destination=None, **params):
    return analyse(api, make_path(api, source, destination, **params)["NetworkInsightsPathId"])


def codes(analysis):
    return [(one["ExplanationCode"], one["Component"]["Id"]) for one in analysis["Explanations"]]


def interface_of(api, instance_id):
    by_instance = [{"Name": "attachment.instance-id", "Values": [instance_id]}]
    (found,) = api.ec2.describe_network_interfaces(Filters=by_instance)["NetworkInterfaces"]
    return found


def move(api, instance_id, group_id):
    """Put an instance's interface into another group alone."""
    interface_id = interface_of(api, instance_id)["NetworkInterfaceId"]
    api.ec2.modify_network_interface_attribute(NetworkInterfaceId=interface_id, Groups=[group_id])


@pytest.fixture
def web(api):
    return api.launch(number=1, public_address="198.18.0.10")


@pytest.fixture
def db(api):
    return api.launch(number=2)


@pytest.fixture
def gateway(api):
    (found,) = api.ec2.describe_internet_gateways()["InternetGateways"]
    return found["InternetGatewayId"]


def test_within_the_default_group(api, web, db):
    path = make_path(api, web, db)
    assert (path["Source"], path["Destination"], path["Protocol"], path["DestinationPort"]) == (web, db, "tcp", 22)
    assert path["SourceArn"].endswith(f":instance/{web}")
    found = analyse(api, path["NetworkInsightsPathId"])
    assert (found["Status"], found["NetworkPathFound"], found["Explanations"]) == ("succeeded", True, [])
    components = [one["Component"]["Id"] for one in found["ForwardPathComponents"]]
    assert components[0] == interface_of(api, web)["NetworkInterfaceId"]
    assert components[-1] == interface_of(api, db)["NetworkInterfaceId"]
    assert api.world.one.group_id in components
    assert [one["SequenceNumber"] for one in found["ForwardPathComponents"]] == list(range(1, len(components) + 1))
    header = found["ForwardPathComponents"][0]["OutboundHeader"]
    assert header["DestinationPortRanges"] == [{"From": 22, "To": 22}]
    back = [one["Component"]["Id"] for one in found["ReturnPathComponents"]]
    assert (back[0], back[-1]) == (components[-1], components[0])


def test_a_group_without_ingress_rules(api, web, db):
    closed = api.ec2.create_security_group(GroupName="closed", Description="d")["GroupId"]
    move(api, db, closed)
    path_id = make_path(api, web, db)["NetworkInsightsPathId"]
    found = analyse(api, path_id)
    assert (found["Status"], found["NetworkPathFound"]) == ("succeeded", False)
    assert found["ForwardPathComponents"] == []
    (reason,) = found["Explanations"]
    assert reason["ExplanationCode"] == "SG_HAS_NO_RULES"
    assert reason["Direction"] == "ingress"
    assert [group["Id"] for group in reason["SecurityGroups"]] == [closed]
    permission = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22}
    peers = {"UserIdGroupPairs": [{"GroupId": api.world.one.group_id}]}
    api.ec2.authorize_security_group_ingress(GroupId=closed, IpPermissions=[permission | peers])
    assert analyse(api, path_id)["NetworkPathFound"] is True
    other = ask(api, web, db, DestinationPort=23)
    assert codes(other) == [("ENI_SG_RULES_MISMATCH", interface_of(api, db)["NetworkInterfaceId"])]


def test_a_prefix_list_in_a_rule(api, web, db):
    closed = api.ec2.create_security_group(GroupName="closed", Description="d")["GroupId"]
    move(api, db, closed)
    listed = api.ec2.create_managed_prefix_list(
        PrefixListName="n", AddressFamily="IPv4", MaxEntries=5, Entries=[{"Cidr": "172.31.0.0/16"}]
    )["PrefixList"]["PrefixListId"]
    permission = {"IpProtocol": "-1", "PrefixListIds": [{"PrefixListId": listed}]}
    api.ec2.authorize_security_group_ingress(GroupId=closed, IpPermissions=[permission])
    found = ask(api, web, db)
    assert found["NetworkPathFound"] is True
    rules = [one["SecurityGroupRule"] for one in found["ForwardPathComponents"] if "SecurityGroupRule" in one]
    assert listed in [rule.get("PrefixListId") for rule in rules]


def test_an_acl_that_forgets_the_answers(api, web):
    group_id, subnet_id = api.world.one.group_id, api.world.one.subnet_ids[0]
    acl_id = api.ec2.create_network_acl(VpcId=api.world.one.vpc_id)["NetworkAcl"]["NetworkAclId"]
    by_subnet = [{"Name": "association.subnet-id", "Values": [subnet_id]}]
    (acl,) = api.ec2.describe_network_acls(Filters=by_subnet)["NetworkAcls"]
    association = next(one for one in acl["Associations"] if one["SubnetId"] == subnet_id)["NetworkAclAssociationId"]
    api.ec2.replace_network_acl_association(AssociationId=association, NetworkAclId=acl_id)
    everything = {"Protocol": "-1", "RuleAction": "allow", "CidrBlock": "0.0.0.0/0"}
    api.ec2.create_network_acl_entry(NetworkAclId=acl_id, RuleNumber=1, Egress=True, **everything)
    assert group_id
    found = ask(api, web, DestinationIp="203.0.113.9", DestinationPort=443)
    (reason,) = found["Explanations"]
    assert (reason["ExplanationCode"], reason["Acl"]["Id"], reason["Direction"]) == (
        "SUBNET_ACL_RESTRICTION",
        acl_id,
        "ingress",
    )
    assert (reason["AclRule"]["RuleNumber"], reason["AclRule"]["RuleAction"]) == (32767, "deny")
    assert "The final rule (*)" in found["StatusMessage"]


def test_to_and_from_the_internet(api, web, db, gateway):
    assert ask(api, web, gateway, DestinationPort=443)["NetworkPathFound"] is True
    assert codes(ask(api, db, gateway)) == [("IGW_PUBLIC_IP_ASSOCIATION_FOR_EGRESS", gateway)]
    path_id = make_path(api, gateway, web)["NetworkInsightsPathId"]
    assert codes(analyse(api, path_id)) == [("ENI_SG_RULES_MISMATCH", interface_of(api, web)["NetworkInterfaceId"])]
    office = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "192.0.2.0/24"}]}
    api.ec2.authorize_security_group_ingress(GroupId=api.world.one.group_id, IpPermissions=[office])
    assert analyse(api, path_id)["NetworkPathFound"] is True  # from one office: a path is found
    at = {"SourceAddress": "198.51.100.7", "DestinationPortRange": {"FromPort": 22, "ToPort": 22}}
    params = {"Source": gateway, "Destination": web, "Protocol": "tcp", "ClientToken": "filtered"}
    path = api.ec2.create_network_insights_path(FilterAtSource=at, **params)["NetworkInsightsPath"]
    assert path["FilterAtSource"] == at
    assert analyse(api, path["NetworkInsightsPathId"])["NetworkPathFound"] is False


def test_a_route_that_is_missing(api, web):
    table = api.ec2.create_route_table(VpcId=api.world.one.vpc_id)["RouteTable"]["RouteTableId"]
    api.ec2.associate_route_table(RouteTableId=table, SubnetId=api.world.one.subnet_ids[0])
    found = ask(api, web, DestinationIp="203.0.113.9")
    assert codes(found) == [("NO_ROUTE_TO_DESTINATION", table)]
    assert found["Explanations"][0]["RouteTable"]["Id"] == table
    (gateway,) = api.ec2.describe_internet_gateways()["InternetGateways"]
    api.ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway["InternetGatewayId"])
    found = ask(api, web, DestinationIp="203.0.113.9")
    assert found["NetworkPathFound"] is True
    routes = [one["RouteTableRoute"] for one in found["ForwardPathComponents"] if "RouteTableRoute" in one]
    assert [route["GatewayId"] for route in routes] == [gateway["InternetGatewayId"]]


def test_resources_of_another_account_are_not_analysed(api, web):
    theirs = api.launch(api.world.other, number=1, public_address="198.18.0.20")
    code = "InvalidInstanceID.NotFound"
    params = {"Source": web, "Protocol": "tcp", "ClientToken": "c"}
    api.refused(code, api.ec2.create_network_insights_path, Destination=theirs, **params)
    found = ask(api, web, DestinationIp="198.18.0.20", DestinationPort=443)
    assert found["NetworkPathFound"] is True  # as far as the internet: what is there is theirs
    assert found["ForwardPathComponents"][-1]["Component"]["Id"].startswith("igw-")


def test_an_end_that_is_gone(api, web, db):
    path_id = make_path(api, web, interface_of(api, db)["NetworkInterfaceId"])["NetworkInsightsPathId"]
    api.run(_forget_interface, interface_of(api, db)["NetworkInterfaceId"])
    found = analyse(api, path_id)
    assert found["Status"] == "failed"
    assert "does not exist" in found["StatusMessage"]
    assert "NetworkPathFound" not in found


def _forget_interface(tx, interface_id):
    from stead_controller.db.tables import NetworkInterface

    tx.session.delete(tx.session.get_one(NetworkInterface, interface_id))


def test_paths_live_and_die(api, web, db):
    tags = [{"ResourceType": "network-insights-path", "Tags": [{"Key": "a", "Value": "b"}]}]
    path_id = make_path(api, web, db, TagSpecifications=tags)["NetworkInsightsPathId"]
    another = make_path(api, db, web, Protocol="udp", DestinationPort=53)["NetworkInsightsPathId"]
    analysis_id = analyse(api, path_id)["NetworkInsightsAnalysisId"]

    def paths(name, value):
        asked = [{"Name": name, "Values": [value]}]
        found = api.ec2.describe_network_insights_paths(Filters=asked)["NetworkInsightsPaths"]
        return [one["NetworkInsightsPathId"] for one in found]

    assert paths("tag:a", "b") == paths("source", web) == paths("protocol", "tcp") == [path_id]
    assert paths("destination", web) == [another]
    by_path = api.ec2.describe_network_insights_analyses(NetworkInsightsPathId=path_id)["NetworkInsightsAnalyses"]
    assert [one["NetworkInsightsAnalysisId"] for one in by_path] == [analysis_id]
    succeeded = [{"Name": "status", "Values": ["succeeded"]}, {"Name": "path-found", "Values": ["true"]}]
    found = api.ec2.describe_network_insights_analyses(Filters=succeeded)["NetworkInsightsAnalyses"]
    assert [one["NetworkInsightsAnalysisId"] for one in found] == [analysis_id]
    code = "AnalysisExistsForNetworkInsightsPath"
    api.refused(code, api.ec2.delete_network_insights_path, NetworkInsightsPathId=path_id)
    api.ec2.delete_network_insights_analysis(NetworkInsightsAnalysisId=analysis_id)
    api.ec2.delete_network_insights_path(NetworkInsightsPathId=path_id)
    code = "InvalidNetworkInsightsPathId.NotFound"
    api.refused(code, api.ec2.delete_network_insights_path, NetworkInsightsPathId=path_id)
    code = "InvalidNetworkInsightsAnalysisId.NotFound"
    api.refused(code, api.ec2.delete_network_insights_analysis, NetworkInsightsAnalysisId=analysis_id)
    assert api.ec2.describe_tags()["Tags"] == []


def test_a_client_token_makes_one_path_and_one_analysis(api, web, db):
    first = make_path(api, web, db, ClientToken="once")["NetworkInsightsPathId"]
    assert make_path(api, web, db, ClientToken="once")["NetworkInsightsPathId"] == first
    start = api.ec2.start_network_insights_analysis
    begun = [
        start(NetworkInsightsPathId=first, ClientToken="go")["NetworkInsightsAnalysis"]["NetworkInsightsAnalysisId"]
        for _ in range(2)
    ]
    assert begun[0] == begun[1]


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("InvalidParameterValue", {"Protocol": "icmp"}),
        ("InvalidParameterValue", {"DestinationPort": 65536}),
        ("InvalidParameterValue", {"DestinationIp": "here"}),
        ("InvalidParameterValue", {"Source": "nonsense"}),
        ("InvalidParameterCombination", {"Destination": None}),
        ("InvalidParameterCombination", {"FilterAtSource": {"SourceAddress": "10.0.0.1"}}),
        ("UnsupportedOperation", {"Source": "pcx-00000000000000000"}),
        ("InvalidInstanceID.NotFound", {"Source": "i-00000000000000000"}),
    ],
)
def test_bad_paths_change_nothing(api, web, db, code, changes):
    values = {"Source": web, "Destination": db, "Protocol": "tcp", "DestinationPort": 22, "ClientToken": "c"}
    params = {name: value for name, value in (values | changes).items() if value is not None}
    api.refused(code, api.ec2.create_network_insights_path, **params)


def test_quotas(api, monkeypatch, web, db):
    path_id = make_path(api, web, db)["NetworkInsightsPathId"]
    monkeypatch.setattr(network_insights, "PATHS_PER_ACCOUNT", 1)
    params = {"Source": web, "Destination": db, "Protocol": "tcp", "ClientToken": "c"}
    api.refused("NetworkInsightsPathLimitExceeded", api.ec2.create_network_insights_path, **params)
    monkeypatch.setattr(network_insights, "ANALYSES_PER_ACCOUNT", 0)
    call = api.ec2.start_network_insights_analysis
    code = "NetworkInsightsAnalysisLimitExceeded"
    api.refused(code, call, NetworkInsightsPathId=path_id, ClientToken="c")
    assert api.run(network_insights.describe_analyses, api.world.one.caller, api.world.cloud, Selection()) == []


@pytest.mark.parametrize(
    ("operation", "known"),
    [
        ("DescribeNetworkInsightsPaths", network_insights.PATH_FILTERS),
        ("DescribeNetworkInsightsAnalyses", network_insights.ANALYSIS_FILTERS),
    ],
)
def test_documented_filters_are_known(operation, known):
    documentation = load_service("ec2").operation(operation).input_shape.members["Filters"].documentation
    names = re.findall(r"<p>([a-z.-]+) - ", documentation)
    assert sorted(names) == sorted(known)
