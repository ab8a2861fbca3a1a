"""A backup is checked, brought back as it was, and removed with what only it needs."""

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stead_controller.backup import check, restore
from stead_controller.backup.folder import FolderRepository
from stead_controller.backup.keys import Passphrase
from stead_controller.backup.prune import prune
from stead_controller.backup.repository import BLOCK_LIST, BackupError
from stead_controller.backup.sealed_files import WrongPassphraseError
from stead_controller.blocks.directory import BlockDirectory
from stead_proto.blocks import unpack
from tests.support.examples import examples

from .conftest import PASSPHRASE, Made


def faults_of(made, manifest, passphrase=PASSPHRASE):
    return check.check(made.repository, manifest, passphrase and Passphrase(passphrase), made.show)


def restored(made, manifest, target, passphrase=PASSPHRASE, settings_file=None):
    return restore.restore(
        made.repository, manifest, Passphrase(passphrase), restore.Target(target, settings_file), made.show
    )


def test_all_comes_back(made, tmp_path):
    name = made.add_block(b"content")
    (made.state / "audit").mkdir()
    (made.state / "audit" / "2026-11-29.jsonl").write_bytes(b"{}\n")
    remembered = tmp_path / "settings.json"
    remembered.write_text("{}")
    manifest = made.create(settings_file=remembered)
    remembered.unlink()
    target = tmp_path / "new" / "controller"
    assert restored(made, manifest, target, settings_file=remembered) == restore.Restored(1, [])
    assert (target / "master.key").read_bytes() == b"k" * 32
    assert (target / "ca" / "ca-key.pem").read_bytes() == b"private"
    assert (target / "audit" / "2026-11-29.jsonl").read_bytes() == b"{}\n"
    assert remembered.read_text() == "{}"
    assert unpack(BlockDirectory(target / "blocks").get(name)).startswith(b"content\0")
    assert [path for path in [target, *target.rglob("*")] if path.stat().st_mode & 0o077] == []
    again = Made(target, FolderRepository(tmp_path / "again"))
    assert again.sql("SELECT digest FROM blocks") == [(name.digest,)]
    remembered.write_text("other")
    restored(made, manifest, tmp_path / "third", settings_file=remembered)
    assert remembered.read_text() == "other", "settings that are there stay"


def test_who_served_then_is_not_taken_for_one_that_lives(made, tmp_path):
    with closing(sqlite3.connect(made.state / "stead.sqlite")) as file:
        file.execute("INSERT INTO controllers (id, address, seen) VALUES ('c', '192.0.2.1:8443', 1)")
        file.execute("INSERT INTO leases (name, holder, token, until) VALUES ('lead', 'c', 1, 1 << 60)")
        file.commit()
    target = tmp_path / "new"
    restored(made, made.create(), target)
    there = Made(target, FolderRepository(tmp_path / "again"))
    assert [there.sql(f"SELECT count(*) FROM {table}") for table in ("controllers", "leases")] == [[(0,)], [(0,)]]


def test_it_never_overwrites_a_state_and_a_wrong_passphrase_makes_none(made, tmp_path):
    manifest = made.create()
    with pytest.raises(BackupError, match="is not empty"):
        restored(made, manifest, made.state)
    with pytest.raises(WrongPassphraseError):
        restored(made, manifest, tmp_path / "new", b"wrong horse")
    assert not (tmp_path / "new").exists()
    (tmp_path / "new").mkdir()
    (tmp_path / "new.restoring" / "left").mkdir(parents=True)
    restored(made, manifest, tmp_path / "new")
    assert (tmp_path / "new" / "master.key").exists()
    assert not (tmp_path / "new" / "left").exists()


def test_one_of_a_newer_release_is_refused(made, tmp_path):
    made.sql("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    with pytest.raises(BackupError, match="newer release, r1"):
        restored(made, made.create(), tmp_path / "new")


def test_a_block_that_is_lost_is_named_and_all_else_comes_back(made, tmp_path):
    lost, sound = made.add_block(), made.add_block()
    manifest = made.create()
    made.repository.block(lost.digest).unlink()
    found = restored(made, manifest, tmp_path / "new")
    assert found == restore.Restored(1, [lost.digest.hex()])
    assert (tmp_path / "new" / "blocks" / sound.path).exists()


def test_a_whole_one_has_no_faults_and_each_damage_is_found(made):
    name, lost = made.add_block(), made.add_block()
    made.path_of(lost).unlink()
    manifest = made.create()
    folder = made.repository.folder / manifest.id
    assert faults_of(made, manifest) == []
    assert faults_of(made, manifest, None) == []
    assert faults_of(made, manifest, b"wrong horse") == [
        "keys.sealed: The passphrase does not open the keys of this backup."
    ]
    block = made.repository.block(name.digest)
    before = block.read_bytes()
    for content in (before[:-1], b"\7" + before[1:], before[:40] + b"x" + before[41:]):
        block.write_bytes(content)
        assert faults_of(made, manifest) == [
            f"block {name.digest.hex()}: is missing or damaged; the next backup copies it again"
        ]
    block.unlink(missing_ok=True)
    assert faults_of(made, manifest) == [
        f"block {name.digest.hex()}: is missing or damaged; the next backup copies it again"
    ]
    block.write_bytes(before)
    for file in ("keys.sealed", "database.sqlite"):
        content = (folder / file).read_bytes()
        (folder / file).write_bytes(content + b"x")
        assert faults_of(made, manifest) == [f"{file}: is not what it was"]
        with pytest.raises(BackupError, match="is not what it was"):
            restored(made, manifest, made.state.parent / "new")
        (folder / file).unlink()
        assert faults_of(made, manifest) == [f"{file}: cannot be read: No such file or directory"]
        (folder / file).write_bytes(content)


def test_what_is_damaged_here_is_copied_again_from_the_store(made):
    name, odd = made.add_block(), made.add_block()
    manifest = made.create()
    block, away = made.repository.block(name.digest), made.repository.block(odd.digest)
    content = block.read_bytes()
    block.write_bytes(content[:-1])
    away.unlink()
    away.mkdir()  # cannot be read, so nobody knows that it is damaged
    assert len(faults_of(made, manifest)) == 2
    assert (block.exists(), away.exists()) == (False, True)
    away.rmdir()
    assert faults_of(made, made.create()) == []
    assert block.read_bytes() == content


def test_no_settings_are_written_by_a_restore_that_fails(made, tmp_path, monkeypatch):
    remembered = tmp_path / "settings.json"
    remembered.write_text("{}")
    manifest = made.create(settings_file=remembered)
    remembered.unlink()
    monkeypatch.setattr(restore, "_write_blocks", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        restored(made, manifest, tmp_path / "new", settings_file=remembered)
    assert not remembered.exists()


def test_an_unknown_backup_is_said_to_be_unknown(made, tmp_path):
    with pytest.raises(BackupError, match="has no backups"):
        made.repository.ids()
    made.repository.begin()
    for backup in ("latest", "20261129T141600Z", "../backups"):
        with pytest.raises(BackupError, match="There is no backup"):
            made.repository.find(backup)


def test_old_ones_go_with_what_only_they_need(made):
    first, both, last = made.add_block(), made.add_block(), None
    old = made.create()
    made.remove_block(first)
    last = made.add_block()
    new = made.create()
    (made.repository.block(first.digest).parent / "left.1.new").write_bytes(b"half")
    assert prune(made.repository, 2, made.show) == ([], 0)
    assert prune(made.repository, 1, made.show) == ([old.id], 1)
    assert made.repository.ids() == [new.id]
    assert made.blocks() == {both.digest, last.digest}
    assert faults_of(made, new) == []
    with pytest.raises(BackupError, match="One backup at least"):
        prune(made.repository, 0, made.show)


def test_nothing_is_removed_while_a_backup_cannot_be_read(made):
    made.add_block()
    made.create()
    kept = made.create()
    listed = made.repository.file(kept.id, BLOCK_LIST)
    listed.write_bytes(b"x" * 96)
    with pytest.raises(BackupError, match=r"blocks\.list of .* is not what it was"):
        prune(made.repository, 1, made.show)
    listed.unlink()
    with pytest.raises(FileNotFoundError):
        prune(made.repository, 1, made.show)
    without_block_list(made, kept)
    made.repository.database(kept.id).write_bytes(b"x" * 100)
    with pytest.raises(BackupError, match="cannot be read"):
        prune(made.repository, 1, made.show)
    assert (len(made.repository.ids()), len(made.blocks())) == (2, 1)


def without_block_list(made, manifest):
    """Make a backup one of an earlier release, which has no such list."""
    path = made.repository.file(manifest.id, "manifest.json")
    said = json.loads(path.read_text())
    del said["files"][BLOCK_LIST]
    path.write_text(json.dumps(said))


def test_of_an_earlier_release_the_database_says_what_is_needed(made):
    first, both = made.add_block(), made.add_block()
    old = made.create()
    made.remove_block(first)
    without_block_list(made, made.create())
    assert prune(made.repository, 1, made.show) == ([old.id], 1)
    assert made.blocks() == {both.digest}


def test_a_backup_without_its_keys_or_database_is_not_whole(made):
    manifest = made.create()
    for name in ("keys.sealed", "database.sqlite"):
        rest = {key: value for key, value in manifest.files.items() if key != name}
        assert f"{name}: is not in it" in faults_of(made, replace(manifest, files=rest))


@settings(
    max_examples=examples(10), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # `made_here` makes new ones
@given(st.lists(st.sets(st.integers(0, 5)), min_size=1, max_size=4), st.integers(1, 4))
def test_whatever_is_kept_stays_whole(made_here, contents, keep):
    made = made_here()
    names = {}
    manifests = []
    for wanted in contents:
        for number in wanted - names.keys():
            names[number] = made.add_block(str(number).encode())
        for number in names.keys() - wanted:
            made.remove_block(names.pop(number))
        manifests.append(made.create())
    prune(made.repository, keep, made.show)
    kept = manifests[-keep:]
    assert [faults_of(made, manifest) for manifest in kept] == [[]] * len(kept)
    assert len(made.blocks()) == len(set().union(*contents[-keep:]))
    shutil.rmtree(made.state.parent)


@pytest.fixture
def made_here(made, tmp_path):
    """A factory: each example has a state of its own."""
    count = iter(range(1 << 20))

    def make():
        folder = tmp_path / str(next(count))
        shutil.copytree(made.state, folder / "controller")
        return Made(folder / "controller", FolderRepository(folder / "backups"))

    return make
