"""What filters traffic, by the aws command against a whole cloud with simulated hosts; and why traffic is stopped."""

import json

import pytest


@pytest.fixture
def vpc(account):
    return account.aws("ec2", "describe-vpcs")["Vpcs"][0]["VpcId"]


def test_groups_lists_and_the_reason_why(account, image_id, vpc):
    def group(name):
        made = account.aws("ec2", "create-security-group", "--group-name", name, "--description", name, "--vpc-id", vpc)
        return made["GroupId"]

    web, db = group("web"), group("db")
    listed = account.aws(
        "ec2", "create-managed-prefix-list", "--prefix-list-name", "n", "--address-family", "IPv4",
        "--max-entries", "2", "--entries", "Cidr=172.31.0.0/16,Description=here",
    )["PrefixList"]["PrefixListId"]  # fmt: skip
    run = ("ec2", "run-instances", "--image-id", image_id, "--instance-type", "stead.tiny", "--count", "1")
    one, two = (account.aws(*run, "--security-group-ids", chosen)["Instances"][0]["InstanceId"] for chosen in (web, db))
    account.aws("ec2", "wait", "instance-running", "--instance-ids", one, two)
    path = account.aws(
        "ec2", "create-network-insights-path", "--source", one, "--destination", two, "--protocol", "tcp",
        "--destination-port", "5432",
    )["NetworkInsightsPath"]["NetworkInsightsPathId"]  # fmt: skip

    def analyse():
        begun = account.aws("ec2", "start-network-insights-analysis", "--network-insights-path-id", path)
        analysis = begun["NetworkInsightsAnalysis"]["NetworkInsightsAnalysisId"]
        found = account.aws("ec2", "describe-network-insights-analyses", "--network-insights-analysis-ids", analysis)
        return found["NetworkInsightsAnalyses"][0]

    blocked = analyse()
    assert blocked["NetworkPathFound"] is False
    assert [one["ExplanationCode"] for one in blocked["Explanations"]] == ["SG_HAS_NO_RULES"]
    permission = {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "PrefixListIds": [{"PrefixListId": listed}]}
    account.aws(
        "ec2", "authorize-security-group-ingress", "--group-id", db, "--ip-permissions", json.dumps([permission])
    )
    assert analyse()["NetworkPathFound"] is True
    refused = account.aws_result("ec2", "delete-security-group", "--group-id", db)
    assert "DependencyViolation" in refused.stderr
    account.aws("ec2", "terminate-instances", "--instance-ids", one, two)


def test_an_acl_and_a_flow_log(account, vpc):
    acl = account.aws("ec2", "create-network-acl", "--vpc-id", vpc)["NetworkAcl"]["NetworkAclId"]
    account.aws(
        "ec2", "create-network-acl-entry", "--network-acl-id", acl, "--ingress", "--rule-number", "100",
        "--protocol", "udp", "--port-range", "From=53,To=53", "--cidr-block", "0.0.0.0/0", "--rule-action", "allow",
    )  # fmt: skip
    (shown,) = account.aws("ec2", "describe-network-acls", "--network-acl-ids", acl)["NetworkAcls"]
    assert [one["RuleNumber"] for one in shown["Entries"] if not one["Egress"]] == [100, 32767]
    assert [one["Protocol"] for one in shown["Entries"] if one["RuleNumber"] == 100] == ["17"]
    account.aws("ec2", "delete-network-acl", "--network-acl-id", acl)
    logs = account.aws(
        "ec2", "create-flow-logs", "--resource-type", "VPC", "--resource-ids", vpc, "--traffic-type", "ALL",
        "--log-group-name", "flows",
    )["FlowLogIds"]  # fmt: skip
    account.aws("ec2", "delete-flow-logs", "--flow-log-ids", *logs)
    assert account.aws("ec2", "describe-flow-logs")["FlowLogs"] == []
