"""What systemd is told of the controller's processes; what it cannot be told hinders nobody."""

import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from stead_controller import main_process
from stead_proto.process_identity import identity_of


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """What systemd listens at."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "notify"))
        made.settimeout(10)
        yield made


def test_the_main_process_is_named(systemd: socket.socket, tmp_path: Path) -> None:
    systemd_has_none = tmp_path / "pid"
    main_process.is_this(systemd_has_none, {"NOTIFY_SOCKET": str(systemd.getsockname())})
    assert not systemd_has_none.exists()
    assert systemd.recv(100) == f"MAINPID={os.getpid()}".encode()


def test_it_is_named_at_a_socket_without_a_file() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("")  # the kernel chooses (unix(7), autobind)
        systemd.settimeout(10)
        main_process.is_this(None, {"NOTIFY_SOCKET": "@" + systemd.getsockname()[1:].decode()})
        assert systemd.recv(100) == f"MAINPID={os.getpid()}".encode()


def test_the_successor_is_in_a_file(tmp_path: Path) -> None:
    environment = {"NOTIFY_SOCKET": "x", "RUNTIME_DIRECTORY": str(tmp_path)}
    for pid in (4711, 4712):
        main_process.followed_by(pid, environment)
        assert (tmp_path / main_process.FILE_NAME).read_text() == f"{pid}\n"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("missing", ["NOTIFY_SOCKET", "RUNTIME_DIRECTORY"])
def test_without_systemd_nothing_is_done(tmp_path: Path, missing: str) -> None:
    environment = {"NOTIFY_SOCKET": "x", "RUNTIME_DIRECTORY": str(tmp_path)}
    del environment[missing]
    main_process.followed_by(4711, environment)
    assert list(tmp_path.iterdir()) == []
    main_process.is_this(None, {})


def test_without_systemd_it_is_in_the_pid_file_of_who_started_it(tmp_path: Path) -> None:
    file = tmp_path / "controller.pid"
    file.write_text("of the parent")
    main_process.is_this(file, {})
    assert file.read_text() == identity_of(os.getpid())
    assert list(tmp_path.iterdir()) == [file]


def test_a_systemd_that_does_not_hear_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    nowhere = str(tmp_path / "nowhere")
    with caplog.at_level(logging.ERROR):
        main_process.is_this(None, {"NOTIFY_SOCKET": nowhere})
        main_process.is_this(tmp_path / "nowhere" / "pid", {})
        main_process.followed_by(4711, {"NOTIFY_SOCKET": nowhere, "RUNTIME_DIRECTORY": nowhere})
    assert [record.message for record in caplog.records] == [
        "main_process_cannot_be_told",
        "pid_file_cannot_be_written",
        "successor_cannot_be_noted",
    ]


def test_what_the_server_starts_cannot_speak_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "x")
    main_process.forget()
    assert "NOTIFY_SOCKET" not in os.environ
    main_process.forget()
