"""Traces end as spans at a server, and never hold up or fail what is traced."""

import contextvars
import logging
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from stead_proto import traces
from stead_proto.traces import Settings, TracesError
from stead_proto.traces_export import Queue
from tests.support import trace_server
from tests.support.waiting import wait_for

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALLER = f"00-{TRACE}-{SPAN}-01"


def test_without_a_start_nothing_is_recorded() -> None:
    assert not traces.is_on()
    assert traces.begin("call", CALLER) is None
    assert traces.counts() == (0, 0)
    with traces.within(None), traces.span("part") as part:
        assert part is None
    traces.record("done", CALLER, traces.now(), {})
    traces.stop()


def test_parts_are_sent_as_parts_of_the_call() -> None:
    with trace_server.tracing() as server:
        call = traces.begin("call", CALLER, "server", {"a": 1})
        assert call is not None
        with traces.within(call), traces.span("transaction", {"writes": True}) as around, traces.span("placement"):
            assert around is not None
            around.note({"host": "h-1"})
        with traces.span("of nothing") as none:
            assert none is None
        call.rename("ec2.RunInstances")
        traces.record("store", call.traceparent, 17, {"b": "c"}, failed="Why")
        call.end()
        traces.stop()
    found = {each.name: each for each in server.spans}
    assert found.keys() == {"ec2.RunInstances", "transaction", "placement", "store"}
    top, inner = found["ec2.RunInstances"], found["transaction"]
    assert {each.trace for each in server.spans} == {TRACE}
    assert (top.parent, inner.parent, found["placement"].parent) == (SPAN, top.id, inner.id)
    assert (top.kind, inner.kind) == (2, 1)  # SERVER and INTERNAL of the protocol
    assert (top.about, inner.about) == ({"a": 1}, {"writes": True, "host": "h-1"})
    assert inner.began <= found["placement"].began <= found["placement"].ended <= inner.ended
    assert (found["store"].began, found["store"].failed, found["store"].about) == (
        17,
        True,
        {"b": "c", "error.type": "Why"},
    )
    assert not top.failed
    assert {each.program for each in server.spans} == {"test"}
    assert set(server.paths) == {"/v1/traces"}


def test_what_a_part_raises_is_told_by_its_class_alone() -> None:
    with trace_server.tracing() as server:
        call = traces.begin("call")
        with pytest.raises(ZeroDivisionError), traces.within(call), traces.span("part"):
            raise ZeroDivisionError("a secret")
        assert contextvars.copy_context().get(traces._current) is None
        traces.stop()
    [part] = server.spans
    assert part.failed
    assert part.about == {"error.type": "ZeroDivisionError"}
    assert not any(b"a secret" in body for body in server.bodies)


@pytest.mark.parametrize(("flag", "share", "is_traced"), [("01", 0.0, True), ("00", 1.0, False)])
def test_the_caller_decides_whether_its_call_is_traced(flag: str, share: float, is_traced: bool) -> None:
    with trace_server.tracing(share):
        assert (traces.begin("call", f"00-{TRACE}-{SPAN}-{flag}") is not None) is is_traced


@pytest.mark.parametrize(("share", "is_traced"), [(0.0, False), (1.0, True)])
def test_of_other_calls_a_share_is_traced(share: float, is_traced: bool) -> None:
    with trace_server.tracing(share):
        assert (traces.begin("call", "nonsense") is not None) is is_traced


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        (CALLER, True),
        (f"01-{TRACE}-{SPAN}-01", True),
        (f"01-{TRACE}-{SPAN}-01-more", True),
        (f"01-{TRACE}-{SPAN}-01more", False),
        (f"00-{TRACE}-{SPAN}-01-more", False),
        (f"01-{TRACE}-{SPAN}-01-{'x' * 500}", False),
        (f"ff-{TRACE}-{SPAN}-01", False),
        (f"00-{'0' * 32}-{SPAN}-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (CALLER.upper(), False),
        (f"x{CALLER}", False),
        ("", False),
    ],
)
def test_what_is_a_traceparent(text: str, is_one: bool) -> None:
    assert traces.is_traceparent(text) is is_one


def test_a_parent_of_a_later_version_is_understood() -> None:
    with trace_server.tracing() as server:
        call = traces.begin("call", f"01-{TRACE}-{SPAN}-01-more")
        assert call is not None
        assert call.traceparent.startswith(f"00-{TRACE}-")
        call.end()
        traces.stop()
    assert [(each.trace, each.parent) for each in server.spans] == [(TRACE, SPAN)]


def test_a_server_that_hangs_holds_nobody_up_and_what_is_too_much_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stead_proto.traces_export.QUEUE", 300)
    monkeypatch.setattr(Queue.__init__, "__defaults__", (300,))
    with trace_server.running() as server:
        server.answers.clear()
        traces.start(Settings(server.url), "test", "here")
        began = time.monotonic()
        for _ in range(1000):
            call = traces.begin("call")
            assert call is not None
            call.end()
        assert time.monotonic() - began < 2, "nobody waits for the server, which never answers"
        sent, dropped = traces.counts()
        assert sent == 0
        assert 400 <= dropped <= 700, "300 wait, and at most 256 are under way"
        began = time.monotonic()
        traces.stop(0.2)
        assert time.monotonic() - began < 2
        assert server.spans == []
    wait_for(lambda: not _are_sent(), "it has given up what it was sending", 20)


def _are_sent() -> bool:
    return any(each.name == "traces" for each in threading.enumerate())


def _are_counted(expected: tuple[int, int]) -> bool:
    return traces.counts() == expected


def test_what_the_server_does_not_take_is_counted_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with trace_server.running() as server:
        traces.start(Settings(server.url), "test", "here")
        for status, expected in ((400, (0, 1)), (400, (0, 2)), (200, (1, 2))):
            server.status = status
            call = traces.begin("call")
            assert call is not None
            call.end()
            wait_for(partial(_are_counted, expected), "it is counted", 10)
        traces.stop()
    assert [each.message for each in caplog.records] == ["traces_not_taken", "traces_taken_again"]


def test_headers_are_of_a_file_that_others_cannot_read(tmp_path: Path) -> None:
    path = tmp_path / "headers"
    path.write_text("Authorization: Bearer a:b\n\nX-Scope: 7\n")
    path.chmod(0o600)
    with trace_server.running() as server:
        traces.start(Settings(f"{server.url}/below/", headers_file=path), "test", "here")
        call = traces.begin("call")
        assert call is not None
        call.end()
        traces.stop()
    assert server.paths == ["/below/v1/traces"]
    assert (server.headers[0]["authorization"], server.headers[0]["x-scope"]) == ("Bearer a:b", "7")


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [
        (b"Authorization: secret\n", 0o640, "others may read"),
        (b"\nsecret\n", 0o600, "line 2"),
        (b"a b: secret\n", 0o600, "line 1"),
        (b"Name: secret\xff\n", 0o600, "cannot be read"),
    ],
)
def test_a_bad_headers_file_is_refused_without_its_content(
    tmp_path: Path, content: bytes, mode: int, says: str
) -> None:
    path = tmp_path / "headers"
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(TracesError, match=says) as caught:
        traces.read_headers(path)
    assert "secret" not in str(caught.value)
    with pytest.raises(TracesError, match="cannot be read"):
        traces.read_headers(tmp_path / "none")


@pytest.mark.parametrize(
    "endpoint", ["host:4318", "ftp://host", "http://", "http://a:b@host", "http://host?key=b", "http://[a"]
)
def test_an_endpoint_is_a_url_without_secrets(endpoint: str) -> None:
    with pytest.raises(TracesError, match="no URL"):
        traces.start(Settings(endpoint), "test", "here")
    assert not traces.is_on()


def test_without_its_packages_it_is_said_which_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    modules: dict[str, Any] = {"stead_proto.traces_export": None}
    for name, value in modules.items():
        monkeypatch.setitem(__import__("sys").modules, name, value)
    with pytest.raises(TracesError, match="install opentelemetry-sdk and"):
        traces.start(Settings("http://127.0.0.1:1"), "test", "here")
