"""When this machine's host counts as up for who has just started its agent."""

from types import SimpleNamespace

import pytest

from stead_cli import cloud
from stead_cli.settings import Settings
from stead_proto.v1 import operator_pb2 as pb


@pytest.mark.parametrize(
    ("host", "is_it"),
    [
        (pb.Host(state="up", last_seen=5, last_seen_milliseconds=5_001), True),
        (pb.Host(state="up", last_seen=5, last_seen_milliseconds=5_000), False),
        (pb.Host(state="down", last_seen=6, last_seen_milliseconds=6_000), False),
        (pb.Host(state="up", last_seen=6, last_seen_milliseconds=6_000, simulated=True), False),
    ],
)
def test_a_report_of_the_same_second_counts_if_it_is_later(monkeypatch, tmp_path, host, is_it):
    """Else it would be the next one, ten seconds later."""
    monkeypatch.setattr(cloud, "Operator", lambda _settings: SimpleNamespace(list_hosts=lambda: [host]))
    monkeypatch.setattr(cloud, "ended", lambda _program: False)
    monkeypatch.setattr(cloud, "HOST_SECONDS", 0.0)
    monkeypatch.setattr(cloud, "failed", lambda _program, how: TimeoutError(how))
    if is_it:
        assert cloud.wait_for_host(Settings(tmp_path), 5_000) == host
        return
    with pytest.raises(TimeoutError):
        cloud.wait_for_host(Settings(tmp_path), 5_000)
