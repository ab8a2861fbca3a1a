"""Files of a server are copied as they were when they were opened, once, in pieces that backups share."""

import os
from pathlib import Path

import pytest

from stead_controller.backup import contents, restore, stores
from stead_controller.backup.check import check
from stead_controller.backup.folder import FolderRepository
from stead_controller.backup.keys import Passphrase
from stead_controller.backup.prune import prune
from stead_controller.backup.repository import FORMAT, PIECES, BackupError
from stead_controller.backup.stores import BUCKETS, METRICS, PIECE_BYTES

from .conftest import PASSPHRASE

OLD = 1_600_000_000
LARGE = bytes(range(256)) * (PIECE_BYTES // 256) + b"the second piece"


@pytest.fixture
def data(made):
    """The folder of data of an object store, with files of all sizes that have been the same for long."""
    folder = made.state / BUCKETS.name / "data"
    (folder / "empty").mkdir(parents=True)
    (made.state / BUCKETS.name / "identities.json").write_bytes(b"a key")
    (made.state / BUCKETS.name / "weed.log").write_bytes(b"of no use")
    for name, content in (("large", LARGE), ("small", b"small"), ("nothing", b""), ("deeper/again", LARGE)):
        write(folder / name, content)
    (folder / "socket").symlink_to("elsewhere")
    return folder


def write(path: Path, content: bytes, at: int = OLD) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (at, at))


def listed(made, manifest):
    return {one.path: one for one in stores.read_listing(made.repository, manifest, BUCKETS)}


def brought_back(made, manifest, tmp_path, **changes):
    target = restore.Target(tmp_path / "new" / "controller", **changes)
    return restore.restore(made.repository, manifest, Passphrase(PASSPHRASE), target, made.show)


def test_all_files_come_back_with_their_times(made, data, tmp_path):
    manifest = made.create()
    assert manifest.stores == {BUCKETS.name: 2 * len(LARGE) + 5}
    assert manifest.format == FORMAT
    assert len(list(made.repository.listed(PIECES))) == 3, "what is the same is there once"
    assert brought_back(made, manifest, tmp_path).damaged == []
    folder = tmp_path / "new" / "controller" / BUCKETS.name
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == {"identities.json", *(f"data/{name}" for name in ("large", "small", "nothing", "deeper/again"))}
    assert (folder / "data" / "empty").is_dir()
    for name in ("large", "small", "nothing", "deeper/again"):
        assert (folder / "data" / name).read_bytes() == (data / name).read_bytes()
        assert (folder / "data" / name).stat().st_mtime == OLD
    assert (folder / "identities.json").read_bytes() == b"a key"
    assert [path for path in folder.rglob("*") if path.stat().st_mode & 0o077] == []
    shown = [(done, of) for step, done, of in made.shown if step == BUCKETS.name]
    assert shown[0] == (0, 2 * len(LARGE) + 5)
    assert shown[-1] == (2 * len(LARGE) + 5, 2 * len(LARGE) + 5)


def test_keys_of_the_store_are_sealed_and_nothing_else_of_it(made, data):
    assert set(contents.sealed_files(made.state)) & {f"{BUCKETS.name}/identities.json"}
    assert not [name for name in contents.sealed_files(made.state) if "data" in name or "weed" in name]
    manifest = made.create()
    assert b"a key" not in b"".join(
        path.read_bytes() for path in (made.repository.folder / manifest.id).rglob("*") if path.is_file()
    )


def test_what_is_appended_replaced_or_removed_meanwhile_is_as_it_was(made, data):
    made.repository.begin()
    moment = stores.opened(made.state, BUCKETS)
    with (data / "large").open("ab") as file:
        file.write(b"later")
    (data / "new").write_bytes(b"instead")
    (data / "new").rename(data / "deeper" / "again")
    (data / "small").write_bytes(b"changed within")
    files = stores.copy(moment, made.repository, {}, made.show)
    moment.close()
    by_path = {one.path: one for one in files}
    for name, content in (("large", LARGE), ("deeper/again", LARGE), ("small", b"small")):
        pieces = [stores.read_piece(made.repository, digest) for digest in by_path[f"data/{name}"].pieces]
        assert b"".join(pieces) == content
    assert "data/new" not in by_path


def test_one_that_became_shorter_is_no_backup(made, data):
    made.repository.begin()
    moment = stores.opened(made.state, BUCKETS)
    os.truncate(data / "large", PIECE_BYTES)
    with pytest.raises(BackupError, match="data/large became shorter"):
        stores.copy(moment, made.repository, {}, made.show)
    moment.close()
    assert moment.files == []


@pytest.fixture
def read(monkeypatch):
    """The paths of files whose content is read."""
    paths = []
    pieces = stores._Opened.pieces

    def noted(self):
        paths.append(self.path)
        return pieces(self)

    monkeypatch.setattr(stores._Opened, "pieces", noted)
    return paths


def test_only_what_has_changed_is_read_again(made, data, read):
    first = made.create()
    read.clear()
    second = made.create()
    assert read == []
    assert listed(made, second) == listed(made, first)
    write(data / "small", b"Small", OLD + 1)
    (data / "new").write_bytes(LARGE)
    os.utime(data / "new", (OLD, OLD))
    (data / "new").rename(data / "deeper" / "again")
    with (data / "large").open("ab") as file:
        file.write(b"longer")
    os.utime(data / "large", (OLD, OLD))
    made.create()
    assert sorted(read) == ["data/deeper/again", "data/large", "data/small"]


def test_what_was_just_written_is_read_again(made, data, read):
    (data / "small").write_bytes(b"just now")
    made.create()
    read.clear()
    made.create()
    assert read == ["data/small"]


def test_what_lacks_a_piece_is_read_again(made, data, read):
    manifest = made.create()
    made.repository.piece(listed(made, manifest)["data/large"].pieces[1]).unlink()
    read.clear()
    made.create()
    assert len(read) == 1, "the other file has the same piece, which is there again"
    assert check(made.repository, manifest, Passphrase(PASSPHRASE), made.show) == []


def test_damage_is_found_and_copied_again_and_a_restore_brings_the_rest(made, data, tmp_path):
    manifest = made.create()
    large = listed(made, manifest)["data/large"]
    path = made.repository.piece(large.pieces[1])
    content = path.read_bytes()
    for damage in (content[:-1], content + b"x", b"T" + content[1:]):
        path.write_bytes(damage)
        assert check(made.repository, manifest, Passphrase(PASSPHRASE), made.show) == [
            f"{BUCKETS.name}/data/{name}: is not whole; the next backup copies it again"
            for name in ("large", "deeper/again")
        ]
        assert not path.exists()
    assert brought_back(made, manifest, tmp_path).damaged == [
        f"{BUCKETS.name}/data/{name}" for name in ("large", "deeper/again")
    ]
    restored = (tmp_path / "new" / "controller" / BUCKETS.name / "data" / "large").read_bytes()
    assert restored == LARGE[:PIECE_BYTES] + bytes(len(content))
    path.mkdir()  # it cannot be read now, so nobody knows that it is damaged
    assert len(check(made.repository, manifest, Passphrase(PASSPHRASE), made.show)) == 2
    assert path.exists()


def test_a_listing_that_is_damaged_is_found_and_not_restored(made, data, tmp_path):
    manifest = made.create()
    path = made.repository.folder / manifest.id / BUCKETS.listing
    path.write_bytes(path.read_bytes()[:-9])
    assert check(made.repository, manifest, Passphrase(PASSPHRASE), made.show) == [
        f"{BUCKETS.listing}: is not what it was"
    ]
    with pytest.raises(BackupError, match=f"{BUCKETS.listing} of .* is not what it was"):
        brought_back(made, manifest, tmp_path)
    with pytest.raises(BackupError, match="cannot be read"):
        prune(made.repository, 1, made.show)
    assert brought_back(made, manifest, tmp_path, stores=(METRICS,)).damaged == []
    assert not (tmp_path / "new" / "controller" / BUCKETS.name / "data").exists()


def test_what_is_left_out_is_not_there(made, data):
    manifest = made.create(stores=(METRICS,))
    assert manifest.stores == {}
    assert BUCKETS.listing not in manifest.files
    assert list(made.repository.listed(PIECES)) == []


def test_pieces_go_with_the_last_backup_that_names_them(made, data):
    made.create()
    write(data / "small", b"another", OLD + 1)
    made.create()
    assert len(list(made.repository.listed(PIECES))) == 4
    assert prune(made.repository, 2, made.show) == ([], 0)
    left = made.repository.folder / "pieces" / "ab"
    left.mkdir(exist_ok=True)
    (left / "cd").mkdir(exist_ok=True)
    (left / "cd" / "half.new").touch()
    removed, count = prune(made.repository, 1, made.show)
    assert (len(removed), count) == (1, 1)
    assert len(list(made.repository.listed(PIECES))) == 3
    assert not (left / "cd" / "half.new").exists()


def test_backups_of_earlier_releases_are_read(made, tmp_path):
    manifest = made.create()
    path = made.repository.folder / manifest.id / "manifest.json"
    text = path.read_text().replace(f'"format": {FORMAT}', '"format": 1')
    path.write_text(
        text.replace(' "stores": {},\n', "").replace(' "database": "sqlite",\n', "").replace(' "recipients": [],\n', "")
    )
    found = made.repository.find("latest")
    assert (found.format, found.stores, found.database) == (1, {}, "sqlite")
    assert check(FolderRepository(made.repository.folder), found, Passphrase(PASSPHRASE), made.show) == []
    assert brought_back(made, found, tmp_path).damaged == []


def test_a_backup_of_a_server_is_not_restored_to_a_file_unless_that_is_said(made, tmp_path):
    manifest = made.create()
    path = made.repository.folder / manifest.id / "manifest.json"
    path.write_text(path.read_text().replace('"database": "sqlite"', '"database": "postgresql"'))
    found = made.repository.find("latest")
    with pytest.raises(BackupError, match="of a database of postgresql: name an empty one, or say: sqlite"):
        brought_back(made, found, tmp_path)
    brought_back(made, found, tmp_path, database_url="sqlite")
    assert (tmp_path / "new" / "controller" / contents.DATABASE_NAME).exists()
