"""Backups in a bucket of a real S3 endpoint are what they are in a folder; and what only a bucket has to be told."""

import json
import os
import secrets
import socket
import time
from pathlib import Path

import pytest

from stead_controller.backup import bucket_lock, objects, repository, restore, scratch, stores
from stead_controller.backup.bucket import BucketRepository
from stead_controller.backup.bucket_lock import BucketLock
from stead_controller.backup.check import check
from stead_controller.backup.folder import FolderRepository
from stead_controller.backup.keys import Passphrase
from stead_controller.backup.place import Access, opened
from stead_controller.backup.prune import prune
from stead_controller.backup.repository import BLOCKS, PIECES, BackupError
from stead_controller.blocks.directory import BlockDirectory
from stead_proto.blocks import unpack
from stead_proto.certificates import Authority
from tests.support.waiting import wait_for
from tests.unit.controller.backup.conftest import PASSPHRASE, prepared

from .conftest import KEY

OPENER = Passphrase(PASSPHRASE)


@pytest.fixture
def place(endpoint, tmp_path):
    """A prefix of its own, and what opens it."""
    key_file = tmp_path / "key"
    key_file.touch(0o600)
    key_file.write_text(f"{KEY.id}\n{KEY.secret}\n")
    where = f"s3://blocks/backups/{secrets.token_hex(4)}"
    return where, Access(endpoint.url, key_file=key_file)


@pytest.fixture(params=["folder", "bucket"])
def made(request, tmp_path, monkeypatch):
    """A state, whose backups are in either kind of place."""
    cloud = prepared(tmp_path, monkeypatch)
    if request.param == "bucket":
        cloud.repository = opened(*request.getfixturevalue("place"))
    return cloud


@pytest.fixture
def in_bucket(place, tmp_path, monkeypatch):
    cloud = prepared(tmp_path, monkeypatch)
    cloud.repository = opened(*place)
    return cloud


def faults_of(made, manifest):
    with made.repository.exclusively():
        return check(made.repository, manifest, OPENER, made.show)


def restored(made, manifest, target):
    with made.repository.exclusively():
        return restore.restore(made.repository, manifest, OPENER, restore.Target(target), made.show)


@pytest.fixture
def stored(monkeypatch):
    """The kinds of what is stored, in the order of it."""
    kinds = []
    for kind in (FolderRepository, BucketRepository):
        put = kind.put
        monkeypatch.setattr(kind, "put", lambda self, *words, put=put: (kinds.append(words[0]), put(self, *words)))
    return kinds


def test_backups_are_made_checked_brought_back_and_removed(made, tmp_path, stored, monkeypatch):
    first, both = made.add_block(b"first"), made.add_block(b"both")
    data = made.state / stores.BUCKETS.name / "data"
    data.mkdir(parents=True)
    (data / "large").write_bytes(os.urandom(stores.PIECE_BYTES) + b"more")
    (data / "same").write_bytes((data / "large").read_bytes())
    for path in data.iterdir():
        os.utime(path, (1, 1))
    (made.state / "audit").mkdir()
    (made.state / "audit" / "2026-11-29.jsonl").write_bytes(b"{}\n")
    with pytest.raises(BackupError, match="has no backups"):
        made.repository.ids()
    old = made.create()
    assert sorted(stored) == [BLOCKS, BLOCKS, PIECES, PIECES]
    stored.clear()
    made.remove_block(first)
    last = made.add_block(b"last")
    new = made.create()
    assert stored == [BLOCKS], "what is there is not stored again"
    assert (new.blocks, new.block_bytes) == (2, sum(made.path_of(name).stat().st_size for name in (both, last)))
    assert (made.repository.ids(), made.repository.find("latest")) == ([old.id, new.id], new)
    assert [faults_of(made, manifest) for manifest in (old, new)] == [[], []]
    assert restored(made, old, tmp_path / "new") == restore.Restored(2, [])
    assert (tmp_path / "new" / "master.key").read_bytes() == b"k" * 32
    assert (tmp_path / "new" / "audit" / "2026-11-29.jsonl").read_bytes() == b"{}\n"
    for name in ("large", "same"):
        assert (tmp_path / "new" / stores.BUCKETS.name / "data" / name).read_bytes() == (data / name).read_bytes()
    assert unpack(BlockDirectory(tmp_path / "new" / "blocks").get(first)).startswith(b"first\0")
    with monkeypatch.context() as patched:
        patched.setattr(repository.Repository, "database", None)  # nobody fetches whole ones to prune
        assert prune(made.repository, 1, made.show) == ([old.id], 1)
    assert made.repository.ids() == [new.id]
    assert list(made.repository.listed(BLOCKS)) == sorted(name.digest.hex() for name in (both, last))
    assert faults_of(made, new) == []
    with pytest.raises(BackupError, match=f"There is no backup {old.id} in "):
        made.repository.find(old.id)


def test_a_piece_that_cannot_be_stored_is_no_backup(made, monkeypatch):
    data = made.state / stores.BUCKETS.name / "data"
    data.mkdir(parents=True)
    (data / "small").write_bytes(b"content")
    monkeypatch.setattr(type(made.repository), "put", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        made.create()
    assert made.repository.ids() == []


def test_what_is_damaged_or_missing_is_found_and_copied_again(made):
    damaged, missing = made.add_block(b"damaged"), made.add_block(b"missing")
    manifest = made.create()
    content = made.path_of(damaged).read_bytes()
    made.repository.put(BLOCKS, damaged.digest.hex(), content[:-1])
    with made.repository.exclusively():
        made.repository.discard(BLOCKS, [missing.digest.hex()])
    assert len(faults_of(made, manifest)) == 2
    assert list(made.repository.listed(BLOCKS)) == []
    made.repository = again(made.repository)
    assert faults_of(made, made.create()) == []
    assert made.repository.get(BLOCKS, damaged.digest.hex(), 1 << 20) == content


def again(repository):
    """Another process's view of a repository."""
    if isinstance(repository, FolderRepository):
        return FolderRepository(repository.folder)
    return BucketRepository(repository._objects)


def test_one_in_use_is_refused(made):
    made.create()
    with made.repository.exclusively(), pytest.raises(BackupError, match="Another `stead backup` uses"):
        prune(again(made.repository), 1, made.show)
    assert prune(again(made.repository), 1, made.show) == ([], 0)


def keys(made):
    return {one.key for one in made.repository._objects.listed()}


def test_a_killed_ones_lock_ends_by_itself(in_bucket, monkeypatch):
    made = in_bucket
    made.create()
    made.repository._objects.put("locks/of-a-killed-one", b"")
    with pytest.raises(BackupError, match=r"if it was killed, 1[78]\d seconds"), made.repository.exclusively():
        pass
    assert {key for key in keys(made) if key.startswith("locks/")} == {"locks/of-a-killed-one"}
    monkeypatch.setattr(bucket_lock, "LIVES_SECONDS", -5.0)
    with again(made.repository).exclusively():
        assert "locks/of-a-killed-one" not in keys(made)
    assert {key for key in keys(made) if key.startswith("locks/")} == set()


def test_a_lock_is_renewed_and_one_that_was_late_is_lost(in_bucket, monkeypatch):
    made, renewed = in_bucket, []
    made.repository.begin()
    monkeypatch.setattr(bucket_lock, "RENEW_SECONDS", 0.01)
    lock, write = BucketLock(made.repository._objects), BucketLock._write
    monkeypatch.setattr(BucketLock, "_write", lambda self: (write(self), renewed.append(self._renewed)))
    with lock.held():
        deadline = time.monotonic() + 30
        while len(set(renewed)) < 3 and time.monotonic() < deadline:
            lock.require()
        assert len(set(renewed)) >= 3
        monkeypatch.setattr(BucketLock, "_write", lambda _self: (_ for _ in ()).throw(OSError("no network")))
        lock._renewed -= bucket_lock.LIVES_SECONDS
        with pytest.raises(BackupError, match="could not be renewed"):
            lock.require()


def test_one_that_was_late_is_not_taken_back(in_bucket, monkeypatch):
    made, asked = in_bucket, []
    made.repository.begin()
    monkeypatch.setattr(bucket_lock, "RENEW_SECONDS", 0.01)
    require = BucketLock.require
    monkeypatch.setattr(BucketLock, "require", lambda self: (asked.append(self._renewed), require(self)))
    lock = BucketLock(made.repository._objects)
    with lock.held():
        monkeypatch.setattr(bucket_lock, "LIVES_SECONDS", 0.0)  # what was renewed just now is too old
        wait_for(lambda: len(asked) >= 5 and asked[-1] == asked[-2], "it is asked for, and stays")
        monkeypatch.undo()
        assert asked[-1] == lock._renewed


def test_a_killed_create_counts_for_nothing_and_the_next_prune_removes_its_rest(in_bucket, monkeypatch):
    made = in_bucket
    made.add_block(b"of both")
    whole = made.create()
    before = keys(made)
    lost = made.add_block(b"of the killed one")
    with monkeypatch.context() as patched:
        patched.setattr(BucketLock, "require", lambda _self: (_ for _ in ()).throw(BackupError("killed")))
        with pytest.raises(BackupError, match="killed"):
            made.create()
    client, prefix = made.repository._objects._client, made.repository._objects._prefix
    client.create_multipart_upload(Bucket="blocks", Key=f"{prefix}20261129T141700Z/database.sqlite")
    left = keys(made) - before
    assert {key.rpartition("/")[2] for key in left} == {
        "blocks.list",
        "database.sqlite",
        "keys.sealed",
        lost.digest.hex(),
    }
    assert made.repository.ids() == [whole.id]
    assert prune(again(made.repository), 1, made.show) == ([], 1)
    assert keys(made) == before
    assert not client.list_multipart_uploads(Bucket="blocks", Prefix=prefix).get("Uploads")


def test_who_has_lost_the_lock_removes_nothing(in_bucket, monkeypatch):
    made = in_bucket
    name = made.add_block(b"needed")
    manifest = made.create()
    before = keys(made)
    monkeypatch.setattr(BucketLock, "require", lambda _self: (_ for _ in ()).throw(BackupError("late")))
    with pytest.raises(BackupError, match="late"):
        made.repository.remove(manifest.id)
    with pytest.raises(BackupError, match="late"):
        made.repository.discard(BLOCKS, [name.digest.hex()])
    assert keys(made) == before


def test_who_loses_the_lock_while_it_removes_many_removes_no_more(in_bucket, monkeypatch):
    made = in_bucket
    names = [made.add_block(bytes([number])) for number in range(4)]
    made.create()
    before, may = keys(made), iter([None, None])
    late = BackupError("late")
    monkeypatch.setattr(BucketLock, "require", lambda _self: next(may, late) and (_ for _ in ()).throw(late))
    with pytest.raises(BackupError, match="late"):
        made.repository.discard(BLOCKS, [name.digest.hex() for name in names])
    assert len(before - keys(made)) == 2


def test_large_files_go_in_parts_and_none_is_left_of_one_that_failed(in_bucket, tmp_path, monkeypatch):
    bucket = in_bucket.repository._objects
    monkeypatch.setattr(objects, "PART_BYTES", 5 << 20)
    content = os.urandom((10 << 20) + 1)
    (tmp_path / "large").write_bytes(content)
    sent = []
    upload_part = bucket._client.upload_part
    monkeypatch.setattr(
        bucket._client, "upload_part", lambda **said: (sent.append(said["PartNumber"]), upload_part(**said))[1]
    )
    bucket.upload("large", tmp_path / "large")
    assert sorted(sent) == [1, 2, 3]
    bucket.fetch("large", tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() == content
    assert (tmp_path / "fetched").stat().st_mode & 0o077 == 0
    monkeypatch.setattr(bucket._client, "upload_part", lambda **_said: (_ for _ in ()).throw(RuntimeError("cut")))
    with pytest.raises(RuntimeError, match="cut"):
        bucket.upload("other", tmp_path / "large")
    assert not bucket._client.list_multipart_uploads(Bucket="blocks", Prefix=bucket._prefix).get("Uploads")
    assert bucket.size("other") is None


def test_a_prefix_with_other_objects_and_an_absent_bucket_are_refused(in_bucket, place):
    made = in_bucket
    made.repository._objects.put("somebody-elses", b"")
    with pytest.raises(BackupError, match="has other objects and no backups"):
        made.create()
    assert keys(made) == {"somebody-elses"}
    made.repository = opened("s3://absent-bucket/x", place[1])
    with pytest.raises(OSError, match="NoSuchBucket"):
        made.create()


def test_a_server_of_the_cloud_itself_is_refused(endpoint, in_bucket, place, monkeypatch):
    made, (where, access) = in_bucket, place
    secure = Access(endpoint.https_url, ca_file=endpoint.ca_file, key_file=access.key_file)
    made.repository = opened(where, secure)
    (made.state / "ca.pem").write_bytes(endpoint.ca_file.read_bytes())
    with pytest.raises(BackupError, match="is of the cloud that is backed up"):
        made.create()
    assert keys(made) == set()
    (made.state / "ca.pem").write_bytes(Authority.create().certificate_pem)
    made.create()
    assert "stead-backups.json" in keys(made)
    (made.state / "ca.pem").unlink()
    made.repository.require_apart(made.state / "ca.pem")
    monkeypatch.setattr(socket, "create_connection", None)  # where there is no certificate nobody is asked for it
    opened(where, access).require_apart(endpoint.ca_file)


def test_others_objects_among_blocks_stay_and_another_order_than_that_of_digests_is_refused(in_bucket, monkeypatch):
    made = in_bucket
    digest = made.add_block(b"content").digest.hex()
    first = made.create()
    made.repository._objects.put(f"blocks/{digest[:2]}/{digest[2:4]}/somebody-elses", b"")
    made.repository = again(made.repository)
    made.create()
    assert prune(made.repository, 1, made.show) == ([first.id], 0)
    assert f"blocks/{digest[:2]}/{digest[2:4]}/somebody-elses" in keys(made)
    with pytest.raises(BackupError, match="is not locked"):  # it would leave what it fetches
        again(made.repository).database(made.repository.ids()[0])
    twice = 2 * list(made.repository._objects.listed("blocks/"))
    monkeypatch.setattr(objects.Objects, "listed", lambda _self, _below: iter(twice))
    with pytest.raises(BackupError, match="does not list its objects in order"):
        list(made.repository.listed(BLOCKS))


def test_manifests_say_the_same_in_both(in_bucket):
    made = in_bucket
    manifest = made.create()
    found = json.loads(made.repository.read(manifest.id, "manifest.json"))
    assert (found["id"], sorted(found["files"])) == (manifest.id, ["blocks.list", "database.sqlite", "keys.sealed"])


def test_what_names_no_bucket_or_no_key_is_refused(tmp_path):
    for where in ("s3://", "s3:///prefix", "s3://Not_A_Name/x", "s3://ab"):
        with pytest.raises(BackupError, match="names no bucket"):
            opened(where, Access())
    key_file = tmp_path / "key"
    key_file.touch(0o600)
    key_file.write_text("only one line\nand another\n")
    with pytest.raises(BackupError, match="must have two lines"):
        opened("s3://bucket", Access(key_file=key_file))
    key_file.chmod(0o640)
    with pytest.raises(BackupError, match="can be read by others"):
        opened("s3://bucket", Access(key_file=key_file))
    assert opened("s3://bucket", Access("http://127.0.0.1:1")).name == "s3://bucket"
    assert opened("s3://bucket//a/b/", Access("http://127.0.0.1:1"))._objects._prefix == "a/b/"
    assert opened("relative", Access()).name == str(Path("relative").absolute())


def test_a_killed_ones_folder_is_removed_and_none_that_is_in_use_or_new(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    killed, fresh = tmp_path / "stead-backup.killed", tmp_path / "stead-backup.new"
    for path in (killed, fresh):
        path.mkdir(0o700)
    os.utime(killed, (1, 1))
    with scratch.scratch_folder() as used:
        assert {path.name for path in tmp_path.iterdir()} == {used.name, fresh.name}
        os.utime(used, (1, 1))
        with scratch.scratch_folder():
            assert used.exists()
    assert {path.name for path in tmp_path.iterdir()} == {fresh.name}
