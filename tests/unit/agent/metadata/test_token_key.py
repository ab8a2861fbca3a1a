"""The key file: made once, read back, and replaced when it cannot be trusted."""

import os
from pathlib import Path

import pytest

from stead_agent.metadata.token_key import load_key


def test_key_is_made_once_and_only_for_us(tmp_path: Path) -> None:
    path = tmp_path / "key"
    key = load_key(path)
    assert len(key) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_key(path) == key
    assert [entry.name for entry in tmp_path.iterdir()] == ["key"]


@pytest.mark.parametrize("harm", ["short", "long", "readable"])
def test_key_that_cannot_be_trusted_is_replaced(tmp_path: Path, harm: str) -> None:
    path = tmp_path / "key"
    key = load_key(path)
    if harm == "short":
        path.write_bytes(key[:31])
    elif harm == "long":
        path.write_bytes(key + b"x")
    else:
        path.chmod(0o640)
    replaced = load_key(path)
    assert replaced != key
    assert len(replaced) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_key(path) == replaced


def test_key_of_another_user_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = load_key(tmp_path / "key")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert load_key(tmp_path / "key") != key


def test_half_made_key_of_a_killed_agent_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".key.new").write_bytes(b"half")
    assert len(load_key(tmp_path / "key")) == 32


def test_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(bytes(32))
    (tmp_path / "key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        load_key(tmp_path / "key")
