"""Blocks in a bucket of a real S3 endpoint."""

import secrets
from dataclasses import replace

import pytest

from stead_cli import block_store
from stead_cli import settings as up_settings
from stead_cli.errors import CliError
from stead_controller.blocks.bucket import Bucket, Key
from stead_controller.blocks.interface import BlockStoreError, MissingBlockError
from stead_controller.blocks.open_files import open_files
from stead_controller.blocks.s3 import BlockBucket
from stead_controller.object_store.backend import Ask, Backend, BackendError
from stead_controller.object_store.build import open_server
from stead_controller.resources.storage.block_names import BlockName
from stead_controller.settings import Settings
from stead_proto.blocks import BLOCK_BYTES, ZERO_BLOCK, BadBlockError, pack, unpack
from tests.support.processes import free_ports

from .conftest import KEY


def noise():
    return pack(secrets.token_bytes(BLOCK_BYTES))


def named(block):
    return BlockName.new(block.digest), block


@pytest.fixture
def store(endpoint):
    """A store below a prefix of its own."""
    return BlockBucket(Bucket("blocks", endpoint.url, prefix=f"{secrets.token_hex(4)}/"), KEY)


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
        BlockBucket(Bucket("blocks", endpoint.url), Key(KEY.id, "another")),
        BlockBucket(Bucket("blocks", f"http://127.0.0.1:{free_ports(1)[0]}"), KEY),
    ]
    name, block = named(noise())
    for store in wrong:
        with pytest.raises(BlockStoreError):
            store.put([(name, block)])
        with pytest.raises(BlockStoreError):
            list(store.list_all())


def test_a_server_whose_authority_is_named_is_trusted_and_no_other(endpoint, tmp_path):
    key_file = tmp_path / "key"
    key_file.touch(0o600)
    key_file.write_text(f"{KEY.id}\n{KEY.secret}\n")
    settings = Settings(tmp_path, block_bucket="blocks", block_endpoint=endpoint.https_url, block_key_file=key_file)
    name, block = named(noise())
    with pytest.raises(BlockStoreError, match="CERTIFICATE_VERIFY_FAILED"):
        open_files(settings).put([(name, block)])
    trusting = open_files(replace(settings, block_ca_file=endpoint.ca_file))
    trusting.put([(name, block)])
    assert trusting.get(name) == block


async def test_so_it_is_for_accounts_buckets(endpoint, tmp_path):
    key_file = tmp_path / "key"
    key_file.touch(0o600)
    key_file.write_text(f"{KEY.id}\n{KEY.secret}\n")

    async def asked(**more):
        settings = Settings(tmp_path, object_endpoint=endpoint.https_url, object_key_file=key_file, **more)
        backend = Backend(open_server(settings, None))
        try:
            answer = await backend.send(Ask("HEAD", "/blocks"))
            await answer.read()
            return answer.status
        finally:
            await backend.close()

    assert await asked(object_ca_file=endpoint.ca_file) == 200
    with pytest.raises(BackendError, match="CERTIFICATE_VERIFY_FAILED"):
        await asked()


async def test_a_server_that_says_it_of_parts_alone_encrypts_too(endpoint, tmp_path):
    key_file = tmp_path / "key"
    key_file.touch(0o600)
    key_file.write_text(f"{KEY.id}\n{KEY.secret}\n")
    settings = Settings(tmp_path, object_endpoint=endpoint.url, object_key_file=key_file)
    backend, before = Backend(open_server(settings, None)), endpoint.keys("blocks")
    try:
        assert await backend.encrypts("/blocks")
    finally:
        await backend.close()
    assert endpoint.client.list_multipart_uploads(Bucket="blocks").get("Uploads", []) == []
    assert endpoint.keys("blocks") == before


def test_by_the_settings(endpoint, tmp_path):
    key_file = tmp_path / "key"
    key_file.write_text(f"{KEY.id}\n{KEY.secret}\n")
    settings = Settings(tmp_path, block_bucket="blocks", block_endpoint=endpoint.url, block_key_file=key_file)
    key_file.chmod(0o644)
    with pytest.raises(PermissionError):
        open_files(settings)
    key_file.chmod(0o600)
    name, block = named(noise())
    open_files(settings).put([(name, block)])
    assert open_files(settings).get(name) == block
    assert KEY.secret not in repr(Key.from_file(key_file))


def test_up_loses_no_blocks_and_takes_none_of_others(endpoint, tmp_path):
    key_file = tmp_path / "key"
    key_file.touch(0o600)
    key_file.write_text(f"{KEY.id}\n{KEY.secret}\n")
    bucket, prefix = f"cloud-{secrets.token_hex(4)}", Bucket("any").prefix
    given = {
        "STEAD_STATE_DIR": str(tmp_path),
        "STEAD_BLOCK_BUCKET": bucket,
        "STEAD_BLOCK_ENDPOINT": endpoint.url,
        "STEAD_BLOCK_KEY_FILE": str(key_file),
    }
    chosen = up_settings.load(given)
    with pytest.raises(CliError, match=r"cannot be asked: .*NoSuchBucket"):
        block_store.require(chosen)
    private = given | {"STEAD_BLOCK_ENDPOINT": endpoint.https_url}
    with pytest.raises(CliError, match=r"cannot be asked: .*CERTIFICATE_VERIFY_FAILED"):
        block_store.require(up_settings.load(private))
    with pytest.raises(CliError, match=r"cannot be asked: .*NoSuchBucket"):
        block_store.require(up_settings.load(private | {"STEAD_BLOCK_CA_FILE": str(endpoint.ca_file)}))
    endpoint.make_bucket(bucket)
    endpoint.client.put_object(Bucket=bucket, Key="of-somebody-else", Body=b"")
    block_store.require(chosen)  # a new cloud, with room of its own
    authority = chosen.controller_dir / "ca.pem"
    authority.parent.mkdir()
    authority.touch()
    with pytest.raises(CliError, match=f"are in {chosen.controller_dir}/blocks, and none is in the bucket {bucket}"):
        block_store.require(chosen)
    name, block = named(noise())
    BlockBucket(Bucket(bucket, endpoint.url, prefix=prefix), KEY).put([(name, block)])
    block_store.require(chosen)  # they were moved
    authority.unlink()
    chosen.remember()  # as of a cloud whose keys are lost
    with pytest.raises(CliError, match="has the blocks of a cloud, whose keys are not in"):
        block_store.require(chosen)
