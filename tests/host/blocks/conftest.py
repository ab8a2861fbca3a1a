"""An S3 server that tests of blocks and of backups share; each has a bucket or a prefix of its own."""

import pytest

from stead_controller.blocks.bucket import Key
from tests.support.s3_server import S3Server

KEY = Key("AKIASTEAD", "a/secret+key")


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory):
    """A running server that has the bucket `blocks`."""
    with S3Server(tmp_path_factory.mktemp("s3"), KEY.id, KEY.secret) as server:
        server.make_bucket("blocks")
        yield server
