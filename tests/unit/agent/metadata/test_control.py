"""Messages between the agent and the metadata process: whole ones only, bounded, and for root alone."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from stead_agent.metadata import control
from stead_agent.metadata.interface import MetadataError


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection."""
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def test_only_its_user_may_speak_to_the_process(tmp_path: Path) -> None:
    (tmp_path / "control").write_text("left by a dead process")
    with control.listen(tmp_path):
        assert (tmp_path / "control").is_socket()
        assert (tmp_path / "control").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("sent", "refusal"),
    [
        (b"", ConnectionAbortedError),
        (b"{", ValueError),
        (b"[1]", ValueError),
        (b"\xff", ValueError),
        (b'{"do": "' + b"x" * 100 + b'"}', ValueError),
    ],
)
def test_what_is_no_message(
    ends: tuple[socket.socket, socket.socket],
    monkeypatch: pytest.MonkeyPatch,
    sent: bytes,
    refusal: type[Exception],
) -> None:
    monkeypatch.setattr(control, "_MOST_BYTES", 100)
    ends[0].sendall(sent)
    ends[0].shutdown(socket.SHUT_WR)
    with pytest.raises(refusal):
        control.receive(ends[1])


def test_what_is_sent_is_received(ends: tuple[socket.socket, socket.socket]) -> None:
    control.send(ends[0], {"do": "put", "text": "ü\n"})
    assert control.receive(ends[1]) == {"do": "put", "text": "ü\n"}


def test_a_refusal_is_raised_where_it_was_asked(tmp_path: Path) -> None:
    with pytest.raises(control.NoAnswerError):
        control.request(tmp_path, {"do": "about"})
    with control.listen(tmp_path) as listener:

        def refuse() -> None:
            asking, _ = listener.accept()
            with asking:
                control.receive(asking)
                control.send(asking, {"error": "no id"})

        answering = threading.Thread(target=refuse)
        answering.start()
        with pytest.raises(MetadataError, match="no id"):
            control.request(tmp_path, {"do": "put"})
        answering.join()
