"""The controller's disk is full: nothing is made in buckets, and who cannot be recorded is not answered."""

from typing import Any
from unittest.mock import patch

import pytest
from botocore.exceptions import ClientError

from stead_controller.errors import OutOfRoom
from tests.host.object_store.conftest import Store


def _no_room() -> None:
    raise OutOfRoom


async def _not_recorded(_record: Any) -> None:
    raise OutOfRoom


def _refusal(operation: Any, **params: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as refused:
        operation(**params)
    response = refused.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def test_nothing_is_made_and_all_can_be_read_and_removed(store: Store) -> None:
    s3 = store.one.client("s3")
    s3.create_bucket(Bucket="roomless")
    s3.put_object(Bucket="roomless", Key="k", Body=b"kept")
    with patch.object(store.handler, "_require_room", _no_room):
        assert _refusal(s3.put_object, Bucket="roomless", Key="k", Body=b"new") == ("ServiceUnavailable", 503)
        assert _refusal(s3.create_bucket, Bucket="roomless-2") == ("ServiceUnavailable", 503)
        assert s3.get_object(Bucket="roomless", Key="k")["Body"].read() == b"kept"
        s3.delete_object(Bucket="roomless", Key="k")
    s3.delete_bucket(Bucket="roomless")


def test_what_cannot_be_recorded_is_not_answered(store: Store) -> None:
    s3 = store.one.client("s3")
    with patch.object(store.handler, "_on_call", _not_recorded):
        assert _refusal(s3.list_buckets) == ("ServiceUnavailable", 503)
    s3.list_buckets()
