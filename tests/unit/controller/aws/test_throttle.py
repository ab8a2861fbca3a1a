"""Buckets of tokens: EC2's sizes, per account and action, on a clock that never goes back, in bounded memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.aws import ec2_rates, operations
from stead_controller.aws import throttle as throttle_module
from stead_controller.aws import token_buckets as module
from stead_controller.aws.call import OPERATIONS
from stead_controller.aws.throttle import Throttle
from stead_controller.errors import TooManyRequests


class Time:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def time():
    return Time()


def passed(throttle, action, params=(), *, account="1", service="ec2", most=10_000):
    """How many calls in a row are let through."""
    for number in range(most):
        try:
            throttle.check(account, service, action, dict(params))
        except TooManyRequests:
            return number
    return most


@pytest.mark.parametrize(
    ("action", "params", "burst", "in_ten_seconds"),
    [
        ("DescribeVpcs", {}, 100, 100),
        ("DescribeInstances", {}, 50, 50),
        ("DescribeInstances", {"MaxResults": 5}, 100, 100),
        ("DescribeInstances", {"Filters": [{"Name": "vpc-id", "Values": ["v"]}]}, 100, 100),
        ("CreateVpc", {}, 50, 50),
        ("GetConsoleOutput", {}, 100, 100),
        ("ModifyInstanceMetadataDefaults", {}, 2, 2),
        ("DeleteNatGateway", {}, 10, 10),
        ("DescribeStaleSecurityGroups", {}, 20, 20),
        ("RunInstances", {"MaxCount": 1}, 5, 5),
        ("CreateTags", {}, 100, 100),
    ],
)
def test_bursts_and_refills_are_those_of_ec2(time, action, params, burst, in_ten_seconds):
    throttle = Throttle(1, time)
    assert passed(throttle, action, params) == burst
    time.now += 1000
    assert passed(throttle, action, params) == in_ten_seconds


def test_rates_are_of_actions_that_there_are():
    """A name that is misspelt would leave its action with another rate."""
    operations.load()
    there = {name for service, name in OPERATIONS if service == "ec2"}
    assert set(ec2_rates.OWN) <= there
    assert set(ec2_rates.PER_INSTANCE) <= there
    assert set(throttle_module.OWN) <= set(OPERATIONS)
    assert {("sts", name) for name in throttle_module.OF_SESSIONS} <= set(OPERATIONS)


def test_tokens_come_back_as_time_goes_by(time):
    throttle = Throttle(1, time)
    assert passed(throttle, "CreateVpc") == 50
    time.now += 0.1
    assert passed(throttle, "CreateVpc") == 0
    time.now += 0.1
    assert passed(throttle, "CreateVpc") == 1
    time.now += 4
    assert passed(throttle, "CreateVpc") == 20


def test_accounts_and_actions_have_buckets_of_their_own(time):
    throttle = Throttle(1, time)
    assert passed(throttle, "CreateVpc") == 50
    assert passed(throttle, "CreateVpc", account="2") == 50
    assert passed(throttle, "DeleteVpc") == 50
    assert passed(throttle, "CreateUser", service="iam") == 50


def test_objects_are_read_and_written_as_often_as_s3_lets_one_prefix(time):
    throttle = Throttle(100, time)
    assert passed(throttle, "PutObject", service="s3") == 3500
    assert passed(throttle, "DeleteObject", service="s3") == 0
    assert passed(throttle, "GetObject", service="s3") == 5500
    assert passed(throttle, "ListObjectsV2", service="s3") == 0
    assert passed(throttle, "PutObject", service="s3", account="2") == 3500
    time.now += 0.1
    assert passed(throttle, "UploadPart", service="s3") == 350


def test_sessions_share_what_sts_lets_one_account_ask(time):
    throttle = Throttle(100, time)
    assert passed(throttle, "AssumeRole", service="sts") == 600
    assert passed(throttle, "GetCallerIdentity", service="sts") == 0
    assert passed(throttle, "GetCallerIdentity", service="sts", account="2") == 600
    time.now += 0.5
    assert passed(throttle, "GetSessionToken", service="sts") == 300


@pytest.mark.parametrize(
    ("service", "action", "burst", "in_one_second"),
    [
        ("cloudtrail", "LookupEvents", 2, 2),
        ("pricing", "GetProducts", 50, 10),
        ("service-quotas", "GetServiceQuota", 10, 5),
        ("service-quotas", "ListServiceQuotas", 20, 10),
    ],
)
def test_other_services_rates_are_those_that_aws_tells(time, service, action, burst, in_one_second):
    throttle = Throttle(1, time)
    assert passed(throttle, action, service=service) == burst
    time.now += 1
    assert passed(throttle, action, service=service) == in_one_second


def test_codes_of_second_factors_are_few_whatever_the_factor(time):
    for factor in (0, 1, 100):
        throttle = Throttle(factor, time)
        for _ in range(10):
            throttle.check_code("AIDA1")
        with pytest.raises(TooManyRequests):
            throttle.check_code("AIDA1")
        throttle.check_code("AIDA2")
        time.now += 10
        throttle.check_code("AIDA1")
        with pytest.raises(TooManyRequests):
            throttle.check_code("AIDA1")


def test_instances_count_one_by_one(time):
    throttle = Throttle(10, time)
    assert passed(throttle, "RunInstances", {"MaxCount": 1000}) == 10
    assert passed(throttle, "RunInstances", {"MaxCount": 1}) == 0
    time.now += 1
    assert passed(throttle, "RunInstances", {"MaxCount": 10}) == 2
    many = {"InstanceIds": [f"i-{number}" for number in range(500)]}
    assert passed(throttle, "StopInstances", many) == 20


def test_more_instances_than_may_be_asked_is_no_matter_of_rates(time):
    throttle = Throttle(1, time)
    throttle.check("1", "ec2", "RunInstances", {"MaxCount": 10**9})


def test_what_is_refused_costs_nothing(time):
    throttle = Throttle(1, time)
    throttle.check("1", "ec2", "RunInstances", {"MaxCount": 990})
    assert passed(throttle, "RunInstances", {"MaxCount": 11}) == 0
    assert passed(throttle, "RunInstances", {"MaxCount": 1}) == 4


def test_off_is_off(time):
    assert passed(Throttle(0, time), "RunInstances", most=1000) == 1000


def test_memory_is_bounded(time, monkeypatch):
    monkeypatch.setattr(module, "_MOST_BUCKETS", 100)
    throttle = Throttle(1, time)
    assert passed(throttle, "CreateVpc") == 50
    for number in range(1000):
        time.now += 0.001
        throttle.check(f"account {number}", "ec2", "DescribeVpcs", {})
        assert len(throttle._buckets._buckets) <= 101
    time.now += 1000
    throttle.check("last", "ec2", "DescribeVpcs", {})
    assert passed(throttle, "CreateVpc") == 50


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 30)), max_size=30))
def test_never_more_than_size_and_refill(steps):
    time = Time()
    throttle = Throttle(1, time)
    let_through = 0
    for pause, calls in steps:
        time.now += pause
        let_through += passed(throttle, "CreateVpc", most=calls)
        assert let_through <= 50 + 5 * time.now + 1e-6


def test_several_controllers_together_allow_what_one_does(time):
    throttle = Throttle(1, time)
    throttle.share(2)
    assert passed(throttle, "CreateVpc") == 25
    throttle.share(1)
    time.now += 100
    assert passed(throttle, "CreateVpc") == 50
    Throttle(0, time).share(2)
