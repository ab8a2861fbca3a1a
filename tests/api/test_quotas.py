"""What accounts may have: shown by Service Quotas, set by the operator, enforced with the next request."""

import pytest
from botocore.exceptions import ClientError

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


def test_running_vcpus_are_counted_and_given_back(cloud, account, image_id):
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
