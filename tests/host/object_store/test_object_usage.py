"""What real calls leave in their records is what they cost."""

import uuid

import pytest
from botocore.exceptions import ClientError

from stead_controller.aws.audit.record import draw
from stead_controller.object_store.object_usage import Cost, tally

OUT, WRITES, READS = "DataTransfer-Out-Bytes", "Requests-Tier1", "Requests-Tier2"


@pytest.fixture
def costs(store):
    store.calls.clear()
    return lambda: dict(tally(draw(call, "us-east-1").text.encode() for call in store.calls))


def refused(call, **params):
    with pytest.raises(ClientError) as refusal:
        call(**params)
    return refusal.value.response["ResponseMetadata"]["HTTPStatusCode"]


def test_calls_cost_the_buckets_owner(store, costs):
    name = f"paid-{uuid.uuid4().hex[:12]}"
    owner, other = store.one.account_id, store.other.client("s3")
    store.s3.create_bucket(Bucket=name)
    store.s3.put_object(Bucket=name, Key="k", Body=bytes(70_000))
    assert len(store.s3.get_object(Bucket=name, Key="k")["Body"].read()) == 70_000
    assert len(store.s3.get_object(Bucket=name, Key="k", Range="bytes=10-29")["Body"].read()) == 20
    assert refused(store.s3.get_object, Bucket=name, Key="absent") == 404
    assert refused(other.get_object, Bucket=name, Key="k") == 403
    store.s3.list_objects_v2(Bucket=name)
    store.s3.list_buckets()
    store.s3.delete_object(Bucket=name, Key="k")
    store.s3.delete_bucket(Bucket=name)
    assert costs() == {
        Cost(name, owner, WRITES, "CreateBucket"): 1,
        Cost(name, owner, WRITES, "PutObject"): 1,
        Cost(name, owner, WRITES, "ListObjects"): 1,
        Cost(name, owner, READS, "GetObject"): 3,
        Cost(name, owner, OUT, "GetObject", "127.0.0.1"): 70_020,
    }


def test_a_bucket_that_is_not_made_costs_nothing(store, costs):
    assert refused(store.s3.create_bucket, Bucket="UPPER_case") == 400
    assert costs() == {}
