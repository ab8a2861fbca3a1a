"""What accounts may have: shown by Service Quotas, set by the operator, enforced with the next request."""

import json

import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner

from stead_cli.quota import quota as commands
from tests.support.clients import FAST
from tests.support.waiting import wait_for

VCPUS, ADDRESSES, VPCS = "L-1216C47A", "L-0263D0A3", "L-F678F1CE"


@pytest.fixture
def tool(account):
    return account.client("service-quotas")


def test_quotas_are_shown_by_their_codes(tool, account):
    quota = tool.get_service_quota(ServiceCode="vpc", QuotaCode=VPCS)["Quota"]
    assert (quota["Value"], quota["QuotaName"], quota["Adjustable"]) == (5.0, "VPCs per Region", True)
    assert quota["QuotaArn"] == f"arn:aws:servicequotas:us-east-1:{account.account_id}:vpc/{VPCS}"
    services = {one["ServiceCode"] for one in tool.list_services()["Services"]}
    assert services >= {"ec2", "vpc", "ebs"}
    pages = list(
        tool.get_paginator("list_service_quotas").paginate(ServiceCode="vpc", PaginationConfig={"PageSize": 5})
    )
    codes = [one["QuotaCode"] for page in pages for one in page["Quotas"]]
    assert len(codes) == len(set(codes)) >= 15
    assert VPCS in codes
    assert tool.get_aws_default_service_quota(ServiceCode="ec2", QuotaCode=VCPUS)["Quota"]["Value"] == 5.0
    defaults = tool.list_aws_default_service_quotas(ServiceCode="ec2")["Quotas"]
    assert {one["QuotaCode"] for one in defaults} == {VCPUS, ADDRESSES}
    [one] = account.aws("service-quotas", "list-service-quotas", "--service-code", "ebs")["Quotas"]
    assert one["Value"] == 100_000.0


@pytest.mark.parametrize(
    ("call", "asked", "code"),
    [
        ("get_service_quota", {"ServiceCode": "ec2", "QuotaCode": VPCS}, "NoSuchResourceException"),
        ("get_aws_default_service_quota", {"ServiceCode": "x", "QuotaCode": "L-1"}, "NoSuchResourceException"),
        ("list_service_quotas", {"ServiceCode": "x"}, "NoSuchResourceException"),
        ("list_services", {"NextToken": "nonsense"}, "InvalidPaginationTokenException"),
        ("list_services", {"MaxResults": 101}, "IllegalArgumentException"),
    ],
)
def test_nonsense_is_refused(tool, call, asked, code):
    with pytest.raises(ClientError, match=code):
        getattr(tool, call)(**asked)


def test_the_operator_sets_and_forgets_them(cloud, account, tool):
    operator = cloud.operator
    operator.set_quota(ADDRESSES, 1, account.account_id)
    assert tool.get_service_quota(ServiceCode="ec2", QuotaCode=ADDRESSES)["Quota"]["Value"] == 1.0
    first = account.ec2.allocate_address()["AllocationId"]
    with pytest.raises(ClientError, match="AddressLimitExceeded"):
        account.ec2.allocate_address()
    shown = {one.quota_code: (one.value, one.set) for one in operator.list_quotas(account.account_id)}
    assert (shown[ADDRESSES], shown[VPCS]) == ((1, True), (5, False))
    assert not any(one.set for one in operator.list_quotas(cloud.new_account().account_id))
    operator.reset_quota(ADDRESSES, account.account_id)
    second = account.ec2.allocate_address()["AllocationId"]
    for allocation in (first, second):
        account.ec2.release_address(AllocationId=allocation)


@pytest.mark.parametrize("wrong", [("L-00000000", ""), (VPCS, "000000000000")])
def test_what_is_not_there_cannot_be_set(cloud, wrong):
    code, account_id = wrong
    with pytest.raises(Exception, match=r"not exist"):
        cloud.operator.set_quota(code, 1, account_id)


def test_running_vcpus_are_counted_and_released(cloud, account, image_id):
    ec2 = account.ec2
    cloud.operator.set_quota(VCPUS, 4, account.account_id)
    launch = {"ImageId": image_id, "InstanceType": "t3.nano"}  # of two vCPUs
    with pytest.raises(ClientError, match="VcpuLimitExceeded"):
        ec2.run_instances(**launch, MinCount=3, MaxCount=3)
    launched = [one["InstanceId"] for one in ec2.run_instances(**launch, MinCount=1, MaxCount=5)["Instances"]]
    assert len(launched) == 2
    with pytest.raises(ClientError, match="VcpuLimitExceeded"):
        ec2.run_instances(**launch, MinCount=1, MaxCount=1)
    ec2.get_waiter("instance_running").wait(InstanceIds=launched, WaiterConfig=FAST)
    ec2.stop_instances(InstanceIds=launched[:1])
    ec2.get_waiter("instance_stopped").wait(InstanceIds=launched[:1], WaiterConfig=FAST)
    launched += [one["InstanceId"] for one in ec2.run_instances(**launch, MinCount=1, MaxCount=1)["Instances"]]
    with pytest.raises(ClientError, match="VcpuLimitExceeded"):
        ec2.start_instances(InstanceIds=launched[:1])
    ec2.terminate_instances(InstanceIds=launched)

    def free() -> bool:
        try:
            ec2.run_instances(**launch, MinCount=2, MaxCount=2, DryRun=True)
        except ClientError as error:
            return error.response["Error"]["Code"] == "DryRunOperation"
        return False

    wait_for(free, "what terminated instances had is free again", 20)


def test_the_operator_answers_what_an_account_asks_for(cloud, account, tool, monkeypatch):
    monkeypatch.setattr("stead_cli.quota.settings.load", lambda: cloud.settings)

    def stead(*arguments):
        done = CliRunner().invoke(commands, arguments)
        assert done.exit_code == 0, done.output
        return done.stdout

    def history(**asked):
        found = tool.list_requested_service_quota_change_history(**asked)["RequestedQuotas"]
        return [(one["QuotaCode"], one["Status"]) for one in found]

    ask = {"ServiceCode": "vpc", "QuotaCode": VPCS, "DesiredValue": 7.0}
    made = tool.request_service_quota_increase(**ask)["RequestedQuota"]
    assert (made["Status"], made["DesiredValue"], made["QuotaName"]) == ("PENDING", 7.0, "VPCs per Region")
    assert json.loads(made["Requester"])["accountId"] == account.account_id
    with pytest.raises(ClientError, match="ResourceAlreadyExistsException"):
        tool.request_service_quota_increase(**ask)
    shown = [one for one in json.loads(stead("requests", "--output", "json")) if one["id"] == made["Id"]]
    assert [(one["account"], one["value"], one["desired"]) for one in shown] == [(account.account_id, 5, 7)]
    assert tool.get_service_quota(ServiceCode="vpc", QuotaCode=VPCS)["Quota"]["Value"] == 5.0
    stead("approve", made["Id"])
    assert tool.get_service_quota(ServiceCode="vpc", QuotaCode=VPCS)["Quota"]["Value"] == 7.0
    assert tool.get_requested_service_quota_change(RequestId=made["Id"])["RequestedQuota"]["Status"] == "APPROVED"
    assert CliRunner().invoke(commands, ["deny", made["Id"]]).exit_code != 0
    denied = tool.request_service_quota_increase(**{**ask, "DesiredValue": 8.0})["RequestedQuota"]
    stead("deny", denied["Id"])
    unseen = {"ServiceCode": "ebs", "QuotaCode": "L-309BACF6", "DesiredValue": 200_000.0, "SupportCaseAllowed": False}
    assert tool.request_service_quota_increase(**unseen)["RequestedQuota"]["Status"] == "NOT_APPROVED"
    assert stead("requests", "--output", "json").count(account.account_id) == 0
    assert history() == [("L-309BACF6", "NOT_APPROVED"), (VPCS, "DENIED"), (VPCS, "APPROVED")]
    assert history(ServiceCode="vpc", Status="DENIED") == [(VPCS, "DENIED")]
    pages = tool.get_paginator("list_requested_service_quota_change_history_by_quota").paginate(
        ServiceCode="vpc", QuotaCode=VPCS, PaginationConfig={"PageSize": 1}
    )
    assert [[one["Status"] for one in page["RequestedQuotas"]] for page in pages] == [["DENIED"], ["APPROVED"]]
    other = cloud.new_account().client("service-quotas")
    assert other.list_requested_service_quota_change_history()["RequestedQuotas"] == []
    texts = set()
    for request_id in (made["Id"], "0" * 40):
        with pytest.raises(ClientError, match="NoSuchResourceException") as refusal:
            other.get_requested_service_quota_change(RequestId=request_id)
        texts.add(refusal.value.response["Error"]["Message"].replace(request_id, "ID"))
    assert len(texts) == 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"DesiredValue": 5.0}, "IllegalArgumentException"),
        ({"DesiredValue": 7.5}, "IllegalArgumentException"),
        ({"QuotaCode": "L-00000000"}, "NoSuchResourceException"),
        ({"ContextId": "arn:aws:ec2:us-east-1:111111111111:vpc/vpc-1"}, "UnsupportedOperation"),
    ],
)
def test_what_cannot_be_asked_for(tool, changes, code):
    with pytest.raises(ClientError, match=code):
        tool.request_service_quota_increase(**{"ServiceCode": "vpc", "QuotaCode": VPCS, "DesiredValue": 7.0} | changes)
