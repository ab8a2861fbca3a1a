"""A backup has all that is there at one moment, whole or not at all."""

import json
import threading

import pytest

from stead_controller.backup import create as making
from stead_controller.backup.repository import BackupError
from stead_controller.backup.sealed_files import WrongPassphraseError, unseal
from stead_controller.blocks import collection
from stead_controller.secrets.authority_change import EARLIER_FILE
from stead_proto.certificates import Authority

from .conftest import PASSPHRASE


def test_keys_are_sealed_and_all_else_is_there(made):
    name = made.add_block()
    (made.state / "audit").mkdir()
    (made.state / "audit" / "2026-11-29.jsonl").write_bytes(b'{"a":1}\n{"b":')
    (made.state / "object-store").mkdir()
    (made.state / "object-store" / "big").write_bytes(b"not in it")
    (made.state / "running").touch()
    settings = made.state.parent / "settings.json"
    settings.write_text("{}")
    manifest = made.create(settings_file=settings)
    folder = made.repository.folder / manifest.id
    assert manifest.id == "20261129T141600Z"
    assert sorted(manifest.files) == ["audit/2026-11-29.jsonl", "blocks.list", "database.sqlite", "keys.sealed"]
    assert (folder / "audit" / "2026-11-29.jsonl").read_bytes() == b'{"a":1}\n', "a half line is not copied"
    assert unseal((folder / "keys.sealed").read_bytes(), PASSPHRASE, manifest.id) == {
        "controller/master.key": b"k" * 32,
        "controller/ca/ca-key.pem": b"private",
        "controller/ca.pem": b"public",
        "settings.json": b"{}",
    }
    assert made.repository.block(name.digest).read_bytes() == made.path_of(name).read_bytes()
    assert (manifest.blocks, manifest.block_bytes) == (1, made.path_of(name).stat().st_size)
    everything = [made.repository.folder, *made.repository.folder.rglob("*")]
    assert [path for path in everything if path.name != "lock" and path.stat().st_mode & 0o077] == []
    assert made.shown[-1] == ("blocks", 1, 1)


def test_a_block_is_copied_once(made):
    older = made.add_block()
    made.create()
    before = made.repository.block(older.digest).stat()
    made.path_of(older).unlink()
    newer = made.add_block()
    manifest = made.create()
    after = made.repository.block(older.digest).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert made.blocks() == {older.digest, newer.digest}
    assert (manifest.blocks, manifest.unreadable) == (2, ()), "what the store has lost since is here"


def test_blocks_that_the_store_has_lost_are_named(made):
    lost, corrupt = made.add_block(), made.add_block()
    made.path_of(lost).unlink()
    content = bytearray(made.path_of(corrupt).read_bytes())
    content[9] ^= 1
    made.path_of(corrupt).write_bytes(content)
    manifest = made.create()
    assert sorted(manifest.unreadable) == sorted(name.digest.hex() for name in (lost, corrupt))
    assert not made.repository.block(corrupt.digest).exists()
    assert manifest.blocks == 0


def test_blocks_in_a_bucket_stay_there(made):
    made.add_block()
    manifest = made.create(bucket="stead-blocks")
    assert (manifest.bucket, manifest.blocks, list(made.blocks())) == ("stead-blocks", 0, [])


def test_a_folder_of_another_clouds_backups_is_refused_and_stays_as_it_is(made):
    made.create()
    (made.state / "ca.pem").write_bytes(b"of another cloud")
    before = sorted(made.repository.folder.rglob("*"))

    with pytest.raises(BackupError, match="backups of another cloud"):
        made.create()

    assert sorted(made.repository.folder.rglob("*")) == before


def test_a_cloud_is_known_by_its_former_authorities(made):
    """Its folder of backups is its own still, when the authority that it had then is trusted no more."""
    first, second = (Authority.create().certificate_pem for _ in range(2))
    (made.state / "ca.pem").write_bytes(first)
    made.create()
    (made.state / "ca.pem").write_bytes(second)
    with pytest.raises(BackupError, match="backups of another cloud"):
        made.create()
    (made.state / "ca").mkdir(exist_ok=True)
    (made.state / "ca" / EARLIER_FILE).write_bytes(first)
    made.create()
    assert len(made.repository.ids()) == 2


def test_another_passphrase_than_that_of_the_last_backup_is_refused(made):
    made.create()
    with pytest.raises(WrongPassphraseError):
        made.create(b"correct house")
    assert len(made.repository.ids()) == 1


def test_what_is_refused_changes_nothing(made):
    with pytest.raises(BackupError, match="needs 8 characters"):
        made.create(b"7 chars")
    assert not made.repository.folder.exists()
    made.repository.folder.mkdir()
    (made.repository.folder / "other").touch()
    with pytest.raises(BackupError, match="other files and no backups"):
        made.create()
    assert [path.name for path in made.repository.folder.iterdir()] == ["other"]
    (made.state / "stead.sqlite").unlink()
    with pytest.raises(BackupError, match="no database"):
        made.create()


def test_one_that_failed_does_not_count_and_its_rest_goes(made, monkeypatch):
    made.create()
    with monkeypatch.context() as patched:
        patched.setattr(making, "_copy_audit", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            made.create()
    assert (len(made.repository.ids()), len(list(made.repository.folder.glob("*.part")))) == (1, 1)
    made.create()
    assert (len(made.repository.ids()), len(list(made.repository.folder.glob("*.part")))) == (2, 0)


def test_two_of_one_second_have_different_ids(made):
    first = made.create()
    ids = []
    for _ in range(11):
        made.now = made.now.replace(minute=15)
        ids.append(made.create().id)
    assert made.repository.ids() == [first.id, *ids]
    assert ids[-1] == f"{first.id}-12"


def test_blocks_are_not_collected_while_they_are_copied(made):
    seen = []

    def show(step, _done, _total):
        with collection.collecting(made.state) as allowed:
            seen.append((step, allowed))

    made.show = show
    made.add_block()
    made.create()
    assert {allowed for _, allowed in seen} == {False}
    assert {step for step, _ in seen} == {"database", "blocks"}
    with collection.collecting(made.state) as allowed:
        assert allowed


def test_a_copy_begins_after_what_is_being_removed_is_gone(made):
    making_one = threading.Thread(target=made.create)
    with collection.collecting(made.state) as allowed:
        assert allowed
        making_one.start()
        making_one.join(0.2)
        assert made.shown == []
    making_one.join(60)
    assert made.shown


def test_a_folder_in_use_is_refused(made):
    made.create()
    with made.repository.exclusively(), pytest.raises(BackupError, match="Another `stead backup`"):
        made.create()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", json.dumps({"format": 4}), json.dumps({"format": 1, "unreadable": [], "id": "x"})]
)
def test_a_manifest_that_cannot_be_read_says_so(made, text):
    manifest = made.create()
    (made.repository.folder / manifest.id / "manifest.json").write_text(text)
    with pytest.raises(BackupError, match=r"manifest cannot be read|has the format"):
        made.repository.find("latest")
