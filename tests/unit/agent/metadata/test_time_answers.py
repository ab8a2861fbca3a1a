"""NTP as clients see it: who is answered, with which times, and what is said of a clock that nothing keeps."""

import socket
import struct
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_agent.metadata import time_answers
from stead_agent.metadata.time_answers import Clock, answer, clock_of, read_clock, timestamp
from stead_agent.metadata.time_server import TimeServer, _received

SECOND = 10**9
KEPT = Clock(synchronised=True, most_error=1_500_000)


def question(version: int = 4, mode: int = 3, leap: int = 0, poll: int = 6, sent: bytes = b"anything") -> bytes:
    return struct.pack("!BBbb36s8s", leap << 6 | version << 3 | mode, 0, poll, 0, bytes(36), sent)


def test_an_answer_has_the_times_of_both_sides() -> None:
    got = answer(question(poll=10), KEPT, 1_000 * SECOND, 1_000 * SECOND + SECOND // 4)
    assert got is not None
    assert got == bytes.fromhex(
        "24 05 0a ec"  # version 4, a server; stratum 5; the client's poll; a microsecond
        "00000000 00018000 7f7f0101"  # no delay, an error of at most 1.5 s, the source is its own clock
        "83aa8268 00000000"  # when it was last set, which nobody says: now
    ) + b"anything" + bytes.fromhex("83aa8268 00000000 83aa8268 40000000")


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_an_answer_has_the_version_of_its_question(version: int) -> None:
    got = answer(question(version), KEPT, 0, 0)
    assert got is not None
    assert got[0] == version << 3 | 4


@pytest.mark.parametrize(
    "other",
    [b"", question()[:47], *(question(mode=mode) for mode in (0, 1, 2, 4, 5, 6, 7)), *map(question, (0, 5, 6, 7))],
)
def test_nothing_else_is_answered(other: bytes) -> None:
    assert answer(other, KEPT, 0, 0) is None


def test_what_follows_the_header_changes_nothing() -> None:
    assert answer(question() + b"an extension", KEPT, 7, 8) == answer(question(), KEPT, 7, 8)


def test_a_clock_that_nothing_keeps_is_told_as_such() -> None:
    got = answer(question(), Clock(synchronised=False, leap=1), 0, 0)
    assert got is not None
    assert (got[0] >> 6, got[1], got[12:16]) == (3, 0, b"INIT")


@pytest.mark.parametrize(
    ("status", "clock"),
    [
        (0x2001, Clock(synchronised=True, most_error=9)),
        (0x40, Clock(synchronised=False, most_error=9)),
        (0x11, Clock(synchronised=True, most_error=9, leap=1)),
        (0x21, Clock(synchronised=True, most_error=9, leap=2)),
    ],
)
def test_what_the_kernel_says_of_its_clock(status: int, clock: Clock) -> None:
    assert clock_of(status, 9) == clock


def test_the_kernel_is_asked() -> None:
    assert 0 <= read_clock().most_error <= 16_000_000  # more is STA_UNSYNC, and 16 s is where it stays


def test_a_kernel_that_refuses_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_answers, "_libc", SimpleNamespace(adjtimex=lambda _: 0))  # TIME_OK
    assert read_clock() == Clock(synchronised=True)
    monkeypatch.setattr(time_answers, "_libc", SimpleNamespace(adjtimex=lambda _: -1))
    with pytest.raises(OSError, match="Errno"):
        read_clock()


@pytest.mark.parametrize("leap", [1, 2])
def test_a_leap_second_is_announced(leap: int) -> None:
    got = answer(question(leap=3), Clock(synchronised=True, leap=leap), 0, 0)
    assert got is not None
    assert got[0] >> 6 == leap


def test_an_error_that_does_not_fit_is_the_largest_that_does() -> None:
    got = answer(question(), Clock(synchronised=True, most_error=10**12), 0, 0)
    assert got is not None
    assert got[8:12] == b"\xff" * 4


@given(st.integers(0, 2**33 * SECOND))
def test_times_go_on_into_the_next_era(when: int) -> None:
    seconds, part = struct.unpack("!II", timestamp(when))
    assert seconds == (when // SECOND + 2_208_988_800) % 2**32
    assert abs(part * SECOND / 2**32 - when % SECOND) < 1


def test_a_clock_that_cannot_be_asked_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    def refused() -> Clock:
        raise PermissionError(1, "Operation not permitted")

    server = _server(refused)
    assert [server._look(), server._look()] == [Clock(synchronised=False)] * 2
    assert [record.message for record in caplog.records] == ["clock_unknown"]


def test_the_kernels_word_counts_for_when_a_question_came() -> None:
    assert _received([(socket.SOL_SOCKET, 35, struct.pack("@ll", 7, 8))]) == 7 * SECOND + 8
    for other in ([], [(socket.SOL_IP, 35, bytes(16))], [(socket.SOL_SOCKET, 29, bytes(16))]):
        assert _received(other) > 10**18
    assert _received([(socket.SOL_SOCKET, 35, bytes(8))]) > 10**18


def test_neither_a_withdrawn_vpc_nor_a_bug_ends_the_thread(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Clock:
        raise RuntimeError("a bug")

    server = _server(broken)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, socket.socket(sock.family, sock.type) as guest:
        sock.bind(("127.0.0.1", 0))
        guest.sendto(question(), sock.getsockname())
        server._sockets[sock.fileno()] = ("vpc-0", sock)
        events = iter([[(-5, 1), (sock.fileno(), 1)], [(server._ended, 1)]])
        server._epoll = SimpleNamespace(poll=lambda: next(events))
        server._run()
    assert [record.message for record in caplog.records] == ["time_failed"]


def _server(clock: Callable[[], Clock]) -> TimeServer:
    made = TimeServer(clock)
    made.close()
    made.close()  # may be repeated
    return made
