"""Files of records: a day each, larger ones split, old ones gone, and never half a line."""

import errno
import os
from datetime import UTC, datetime, timedelta

import pytest

from stead_controller.audit import files as module
from stead_controller.audit.files import AuditFiles

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


@pytest.fixture
def files(tmp_path):
    return AuditFiles(tmp_path / "audit", days=2, most_bytes=1000)


def names(tmp_path):
    return sorted(path.name for path in (tmp_path / "audit").iterdir())


def test_each_day_has_a_file_that_only_its_owner_reads(files, tmp_path):
    files.append(["a", "b"], NOW)
    files.append(["c"], NOW)
    files.append(["d"], NOW + timedelta(days=1))
    assert names(tmp_path) == ["2026-03-04.jsonl", "2026-03-05.jsonl"]
    first = tmp_path / "audit" / "2026-03-04.jsonl"
    assert (first.read_text(), first.stat().st_mode & 0o777) == ("a\nb\nc\n", 0o600)


def test_a_link_in_a_files_place_is_not_followed(files, tmp_path):
    files.append(["a"], NOW)
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "audit" / "2026-03-05.jsonl").symlink_to(elsewhere)
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        files.append(["b"], NOW + timedelta(days=1))
    assert not elsewhere.exists()


def test_a_large_file_is_followed_by_another(files, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_FILE_BYTES", 10)
    for line in ("x" * 8, "y" * 8, "z" * 30, "w"):
        files.append([line], NOW)
    assert names(tmp_path) == [
        "2026-03-04.1.jsonl",
        "2026-03-04.2.jsonl",
        "2026-03-04.3.jsonl",
        "2026-03-04.jsonl",
    ]


def test_old_files_go_and_the_newest_stays(files, tmp_path):
    for day in range(5):
        files.append(["x" * 100], NOW + timedelta(days=day))
    (tmp_path / "audit" / "notes").write_text("of somebody else")
    files.remove_old(NOW + timedelta(days=4))
    assert names(tmp_path) == ["2026-03-06.jsonl", "2026-03-07.jsonl", "2026-03-08.jsonl", "notes"]
    files.append(["x" * 2000], NOW + timedelta(days=4))
    files.remove_old(NOW + timedelta(days=4))
    assert names(tmp_path) == ["2026-03-08.jsonl", "notes"]


def test_each_kind_has_files_of_its_own(files, tmp_path):
    """However many there are of one, they push out none of the other, and are none of its newest."""
    data = AuditFiles(tmp_path / "audit", days=2, most_bytes=100, kind="data")
    files.append(["managed"], NOW)
    for day in range(3):
        data.append(["d" * 99], NOW + timedelta(days=day))
    data.remove_old(NOW + timedelta(days=2))
    files.remove_old(NOW + timedelta(days=2))
    assert names(tmp_path) == ["2026-03-04.jsonl", "2026-03-06.data.jsonl"]
    assert (files.newest(10), data.newest(10)) == (["managed"], ["d" * 99])


def test_a_full_disk_leaves_no_half_line(files, tmp_path, monkeypatch):
    files.append(["whole"], NOW)
    write = os.write
    calls = []

    def full(descriptor, content):
        calls.append(1)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "full")
        return write(descriptor, content[:3])

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(OSError, match="full"):
            files.append(["half a line"], NOW)
    files.append(["next"], NOW)
    assert (tmp_path / "audit" / "2026-03-04.jsonl").read_text() == "whole\nnext\n"


def test_the_newest_lines_come_from_as_many_files_as_it_takes(files, tmp_path, monkeypatch):
    assert files.newest(5) == []
    for day in range(3):
        files.append([f"{day} {line}" for line in range(3)], NOW + timedelta(days=day))
    assert files.newest(5) == ["1 1", "1 2", "2 0", "2 1", "2 2"]
    assert files.newest(100) == [f"{day} {line}" for day in range(3) for line in range(3)]
    monkeypatch.setattr(module, "_TAIL_BYTES", 7)
    assert files.newest(100) == ["2 2"]


def test_half_a_line_is_removed_before_another_is_added(files, tmp_path, monkeypatch):
    files.append(["whole"], NOW)
    path = tmp_path / "audit" / "2026-03-04.jsonl"
    for piece in (1 << 16, 3):
        monkeypatch.setattr(module, "_PIECE", piece)
        with path.open("a") as file:
            file.write("this one was cut o")
        assert files.newest(5)[-1] in ("whole", "next")
        files.append(["next"], NOW)
    assert path.read_text() == "whole\nnext\nnext\n"
    path.write_text("nothing but half a line")
    assert files.newest(5) == []
    assert path.read_text() == ""


def test_what_is_written_is_on_the_disk(files, tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append("folder"))
    files.append(["a"], NOW)
    files.append(["b"], NOW)
    files.append([], NOW)
    assert synced == [2, "folder", 4]
