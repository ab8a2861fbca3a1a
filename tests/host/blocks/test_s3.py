"""Blocks in a bucket of a real S3 endpoint."""

import json
import secrets
import sys
from pathlib import Path

import botocore.config
import botocore.session
import pytest

from stead_controller.blocks.bucket import Bucket, Key
from stead_controller.blocks.interface import BlockStoreError, MissingBlockError
from stead_controller.blocks.open_files import open_files
from stead_controller.blocks.s3 import BlockBucket
from stead_controller.resources.storage.block_names import BlockName
from stead_controller.settings import Settings
from stead_proto.blocks import BLOCK_BYTES, ZERO_BLOCK, BadBlockError, pack, unpack
from tests.support.processes import Child, clean_environment, free_ports
from tests.support.waiting import wait_for

KEY = Key("AKIASTEAD", "a/secret+key")


def noise():
    return pack(secrets.token_bytes(BLOCK_BYTES))


def named(block):
    return BlockName.new(block.digest), block


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    """The URL of a running endpoint that has the bucket `blocks`."""
    folder = tmp_path_factory.mktemp("s3")
    identity = {
        "name": "stead",
        "credentials": [{"accessKey": KEY.id, "secretKey": KEY.secret}],
        "actions": ["Admin", "Read", "Write", "List"],
    }
    (folder / "identities.json").write_text(json.dumps({"identities": [identity]}))
    (folder / "data").mkdir()
    master, volume, filer, s3, *more = free_ports(8)
    command = [
        Path(sys.executable).parent / "weed",
        "server",
        f"-dir={folder / 'data'}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-master.port={master}",
        f"-master.port.grpc={more[0]}",
        f"-volume.port={volume}",
        f"-volume.port.grpc={more[1]}",
        "-filer",
        f"-filer.port={filer}",
        f"-filer.port.grpc={more[2]}",
        "-s3",
        f"-s3.port={s3}",
        f"-s3.port.grpc={more[3]}",
        f"-s3.config={folder / 'identities.json'}",
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=64",
        "-volume.max=0",
    ]
    child = Child("weed", command, folder / "weed.log", clean_environment(GOMEMLIMIT="160MiB", GOGC="50"))
    child.start()
    url = f"http://127.0.0.1:{s3}"
    client = botocore.session.Session().create_client(
        "s3",
        region_name="us-east-1",
        endpoint_url=url,
        aws_access_key_id=KEY.id,
        aws_secret_access_key=KEY.secret,
        config=botocore.config.Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )

    def made():
        child.check()
        try:
            client.create_bucket(Bucket="blocks")
        except Exception:  # refuses or fails in many ways until all its parts are up
            return False
        return True

    wait_for(made, "the S3 endpoint makes a bucket", 60)
    yield url
    child.kill()  # asked to end, it waits 15 s for streams between its own parts
    for port in (master, volume, filer, s3, *more):  # and leaves its sockets, named by its ports, when it is killed
        for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
            left.unlink()


@pytest.fixture
def store(endpoint):
    """A store below a prefix of its own."""
    return BlockBucket(Bucket("blocks", endpoint, prefix=f"{secrets.token_hex(4)}/"), KEY)


def test_blocks_come_back_checked(store):
    blocks = [named(noise()) for _ in range(10)] + [named(pack(ZERO_BLOCK))]
    store.put(blocks)
    for name, block in blocks:
        assert unpack(store.get(name)) == unpack(block)
    listed = list(store.list_all())
    assert [stored.name for stored in listed] == sorted((name for name, _ in blocks), key=lambda name: name.path)
    assert max(stored.size for stored in listed) == BLOCK_BYTES + 1
    gone = [name for name, _ in blocks[:5]]
    store.remove(gone)
    store.remove(gone)
    for name in gone:
        with pytest.raises(MissingBlockError):
            store.get(name)
    assert len(list(store.list_all())) == 6
    name, block = named(noise())
    store.put([(name, noise())])
    with pytest.raises(BadBlockError):
        store.get(name)


def test_a_wrong_key_and_no_server(endpoint):
    wrong = [
        BlockBucket(Bucket("blocks", endpoint), Key(KEY.id, "another")),
        BlockBucket(Bucket("blocks", f"http://127.0.0.1:{free_ports(1)[0]}"), KEY),
    ]
    name, block = named(noise())
    for store in wrong:
        with pytest.raises(BlockStoreError):
            store.put([(name, block)])
        with pytest.raises(BlockStoreError):
            list(store.list_all())


def test_by_the_settings(endpoint, tmp_path):
    key_file = tmp_path / "key"
    key_file.write_text(f"{KEY.id}\n{KEY.secret}\n")
    settings = Settings(tmp_path, block_bucket="blocks", block_endpoint=endpoint, block_key_file=key_file)
    key_file.chmod(0o644)
    with pytest.raises(PermissionError):
        open_files(settings)
    key_file.chmod(0o600)
    name, block = named(noise())
    open_files(settings).put([(name, block)])
    assert open_files(settings).get(name) == block
    assert KEY.secret not in repr(Key.from_file(key_file))
