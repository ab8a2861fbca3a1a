"""Where the master key is stored: a private file or a command, with versions, and never half-written."""

import contextlib
import os
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stead_controller.errors import WrongState
from stead_controller.secrets.master_key import RETENTION, BadMasterKeyError, KeyCommand, KeyFile, MasterKey

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
KEY = bytes(range(32))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "master.key"


def test_a_file_is_made_at_the_first_use_and_is_private(path):
    first = MasterKey(KeyFile(path))
    assert (path.stat().st_mode & 0o777, len(path.read_bytes())) == (0o600, 32)
    sealed = first.sealer.seal(b"s", "c")
    assert MasterKey(KeyFile(path)).sealer.open(sealed, "c") == b"s"
    path.chmod(0o640)
    with pytest.raises(PermissionError):
        MasterKey(KeyFile(path))


def test_a_new_version_seals_and_the_old_one_opens(path):
    path.write_bytes(KEY)
    path.chmod(0o600)
    key, other = MasterKey(KeyFile(path)), MasterKey(KeyFile(path))
    before = key.sealer.seal(b"old", "c")
    assert key.add(NOW) == 2
    after = key.sealer.seal(b"new", "c")
    assert [key.sealer.open(sealed, "c") for sealed in (before, after)] == [b"old", b"new"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert other.sealer.open(after, "c") == b"new"  # another controller looks into the file again
    assert MasterKey(KeyFile(path)).sealer.open(before, "c") == b"old"
    assert other.add(NOW) == 3
    assert KEY.hex() in path.read_text()


@pytest.mark.parametrize("controllers", [1, 2])
def test_keys_that_are_changed_at_once_lose_no_version(path, controllers, monkeypatch):
    """Whoever seals between two changes finds its version in the file afterwards."""
    keys = [MasterKey(KeyFile(path)) for _ in range(controllers)] * (2 // controllers)
    both, read = threading.Barrier(2), KeyFile.read

    def slowly(file):
        found = read(file)
        with contextlib.suppress(threading.BrokenBarrierError):  # the other may not read meanwhile, as it should be
            both.wait(0.2)
        return found

    monkeypatch.setattr(KeyFile, "read", slowly)
    sealed = []

    def change(key):
        key.add(NOW)
        sealed.append(key.sealer.seal(b"secret", "c"))

    threads = [threading.Thread(target=change, args=(key,)) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    monkeypatch.undo()
    last = MasterKey(KeyFile(path)).sealer
    assert [last.open(one, "c") for one in sealed] == [b"secret"] * 2


def test_an_old_version_is_forgotten_when_no_token_needs_it(path):
    key = MasterKey(KeyFile(path))
    key.add(NOW)
    assert key.old(NOW + RETENTION - timedelta(seconds=1)) == frozenset()
    old = key.old(NOW + RETENTION)
    assert old == {1}
    key.forget(old)
    assert (key.sealer.versions, MasterKey(KeyFile(path)).sealer.versions) == ((2,), (2,))
    key.forget(frozenset({2}))
    assert key.sealer.versions == (2,)


@pytest.mark.parametrize("moment", ["before", "written", "replaced"])
def test_a_kill_while_the_file_is_replaced_leaves_a_good_one(path, monkeypatch, moment):
    path.write_bytes(KEY)
    path.chmod(0o600)
    key = MasterKey(KeyFile(path))
    sealed = key.sealer.seal(b"s", "c")
    replace = Path.replace

    def cut(self, target):
        if moment == "replaced":
            replace(self, target)
        raise KeyboardInterrupt

    if moment == "before":
        monkeypatch.setattr(os, "fsync", lambda _descriptor: (_ for _ in ()).throw(KeyboardInterrupt))
    else:
        monkeypatch.setattr(Path, "replace", cut)
    with pytest.raises(KeyboardInterrupt):
        key.add(NOW)
    monkeypatch.undo()
    again = MasterKey(KeyFile(path))
    assert again.sealer.open(sealed, "c") == b"s"
    assert again.sealer.version == (2 if moment == "replaced" else 1)


def test_nonsense_does_not_cause_repeated_reads_of_the_file(path):
    now = [0.0]
    key = MasterKey(KeyFile(path), clock=lambda: now[0])
    reads = []
    source = key._source
    read = source.read
    source.read = lambda: reads.append(1) or read()
    for _ in range(50):
        key._look_again(9)
    now[0] += 2
    key._look_again(9)
    assert len(reads) == 2


def command(text: str) -> KeyCommand:
    return KeyCommand(f"echo {text}")


def test_a_command_prints_one_key_or_versions():
    assert dict(command(KEY.hex()).read()) == MasterKey(command(KEY.hex())).versions
    assert list(command(f"1 {KEY.hex()} 5").read()) == [1]
    with pytest.raises(WrongState, match="no version newer"):
        MasterKey(command(KEY.hex())).add(NOW)


def test_a_command_with_a_newer_version_changes_the_key(tmp_path):
    retained = tmp_path / "vault"
    retained.write_text(f"1 {KEY.hex()}\n")
    key = MasterKey(KeyCommand(f"cat {retained}"))
    sealed = key.sealer.seal(b"s", "c")
    retained.write_text(f"1 {KEY.hex()}\n2 {KEY[::-1].hex()} 7\n")
    assert key.add(NOW) == 2
    assert key.sealer.open(sealed, "c") == b"s"
    assert key.old(NOW) == {1}
    key.forget(frozenset({1}))
    assert key.sealer.versions == (1, 2)  # what it prints is the operator's


@pytest.mark.parametrize("words", ["false", "/nowhere/at/all", f"{sys.executable} -c 'print(\"secret\")'", "true"])
def test_a_bad_command_is_said_without_its_words(words):
    with pytest.raises(BadMasterKeyError) as refusal:
        KeyCommand(words).read()
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    "content", [b"", b"x" * 31, b"1 zz\n", b"0 " + b"a" * 64, b"1 " + b"a" * 62, (b"1 " + b"a" * 64 + b"\n") * 2]
)
def test_a_bad_file_is_refused(path, content):
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(BadMasterKeyError):
        MasterKey(KeyFile(path))
