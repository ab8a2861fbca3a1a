"""Any S3 server can be behind, by an endpoint and a key file; here it is another cloud's S3 endpoint."""

import secrets
from dataclasses import replace

import pytest

from stead_controller.aws.server import AwsServer, Listener
from stead_controller.object_store.backend import Backend
from stead_controller.object_store.build import open_server
from stead_controller.object_store.external import ExternalServer
from stead_controller.object_store.handler import ObjectStoreHandler
from stead_controller.settings import Settings
from tests.host.object_store.conftest import Given, serving


@pytest.fixture
def settings(store, tmp_path):
    """Settings of a controller whose objects the first cloud keeps."""
    key_file = tmp_path / "key"
    key_file.touch(mode=0o600)
    key_file.write_text(f"{store.one.access_key_id}\n{store.one.secret_access_key}\n")
    return Settings(tmp_path, object_endpoint=f"{store.one.endpoint}/", object_key_file=key_file)


def test_objects_are_stored_elsewhere(store, settings):
    handler = ObjectStoreHandler(
        transactions=store.database,
        find_key=store.find_key,
        backend=Backend(open_server(settings, store.find_store_key)),
        region="us-east-1",
        rights=Given(),
    )
    with serving(AwsServer(store.app, [Listener("127.0.0.1", 0)], objects=handler, shutdown_seconds=2), handler) as [
        port
    ]:
        s3 = replace(store.other, endpoint=f"http://127.0.0.1:{port}").client("s3")
        bucket = f"elsewhere-{secrets.token_hex(4)}"
        s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key="a b/ü", Body=b"far away", Metadata={"who": "me"})
        got = s3.get_object(Bucket=bucket, Key="a b/ü", Range="bytes=0-2")
        assert (got["Body"].read(), got["Metadata"]) == (b"far", {"who": "me"})
        assert [each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["a b/ü"]
        s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a b/ü"}]})
        s3.delete_bucket(Bucket=bucket)
        assert bucket not in str(store.s3.list_buckets()["Buckets"])


async def no_key():
    raise AssertionError("another server's keys are its own")


def test_a_key_file_is_asked_for_and_must_be_private(settings):
    assert isinstance(open_server(settings, no_key), ExternalServer)
    with pytest.raises(ValueError, match="--object-key-file"):
        open_server(replace(settings, object_key_file=None), no_key)
    settings.object_key_file.chmod(0o644)
    with pytest.raises(PermissionError):
        open_server(settings, no_key)
