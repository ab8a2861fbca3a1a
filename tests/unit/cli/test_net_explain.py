"""`stead net explain`: the verdict in plain lines and as JSON, with what the hosts have in force."""

import json

import pytest
from click.testing import CliRunner

from stead_cli import net
from stead_cli.__main__ import cli
from stead_cli.errors import CliError
from stead_proto.v1 import operator_pb2 as pb


class FakeOperator:
    """Gives prepared answers, and records what it was asked."""

    def __init__(self, answer: pb.ExplainResponse, look: pb.LookResponse | CliError) -> None:
        self.answer = answer
        self.found = look
        self.asked: list[tuple[object, ...]] = []

    def explain(self, source: str, destination: str, protocol: str, port: int) -> pb.ExplainResponse:
        self.asked.append((source, destination, protocol, port))
        return self.answer

    def look(self, resource_id: str, to_address: str) -> pb.LookResponse:
        self.asked.append((resource_id, to_address))
        if isinstance(self.found, CliError):
            raise self.found
        return self.found


BLOCKED = pb.ExplainResponse(
    reachable=False,
    hops=[pb.ExplainHop(component_id="eni-1", sentence="eni-1 of i-1 sends it")],
    reasons=[
        pb.ExplainReason(code="SG_HAS_NO_RULES", component_id="eni-2", sentence="No inbound rule allows it."),
        pb.ExplainReason(code="SUBNET_ACL_RESTRICTION", component_id="acl-1", sentence="Denied.", reply=True),
    ],
    warnings=["a warning"],
    ends=[pb.ExplainEnd(interface_id="eni-1", to_address="10.0.0.2")],
)
OPEN = pb.ExplainResponse(reachable=True, hops=[pb.ExplainHop(component_id="eni-1", sentence="back", reply=True)])
FINDINGS = pb.LookResponse(
    host_id="h-1",
    findings=[
        pb.Finding(what="tap", id="eni-1", ok=True),
        pb.Finding(what="route", id="rtb-1", ok=False, detail="missing"),
    ],
)


def run(monkeypatch: pytest.MonkeyPatch, operator: FakeOperator, *arguments: str) -> tuple[int, str]:
    monkeypatch.setattr(net, "Operator", lambda _settings: operator)
    result = CliRunner().invoke(cli, ["net", "explain", "--from", "i-1", "--to", "i-2", *arguments])
    return result.exit_code, result.output


def test_what_is_blocked_is_said_with_its_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    operator = FakeOperator(BLOCKED, FINDINGS)
    code, shown = run(monkeypatch, operator)
    assert code == 1
    assert operator.asked == [("i-1", "i-2", "tcp", 22), ("eni-1", "10.0.0.2")]
    assert shown.splitlines() == [
        "  -> eni-1 of i-1 sends it",
        "tcp 22 does not get from i-1 to i-2",
        "  No inbound rule allows it. [SG_HAS_NO_RULES]",
        "  the answer: Denied. [SUBNET_ACL_RESTRICTION]",
        "  note: a warning",
        "  note: host h-1 has for eni-1: route rtb-1 missing",
    ]


def test_what_gets_through(monkeypatch: pytest.MonkeyPatch) -> None:
    operator = FakeOperator(OPEN, FINDINGS)
    code, shown = run(monkeypatch, operator, "--port", "icmp")
    assert (code, operator.asked) == (0, [("i-1", "i-2", "icmp", 0)])
    assert shown.splitlines() == ["  <- back", "icmp gets from i-1 to i-2, and the answer back"]


def test_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    code, shown = run(monkeypatch, FakeOperator(BLOCKED, FINDINGS), "--rules-only", "--output", "json")
    document = json.loads(shown)
    assert (code, document["reachable"], document["hosts"]) == (1, False, [])
    assert document["reasons"][1] == {
        "code": "SUBNET_ACL_RESTRICTION",
        "component_id": "acl-1",
        "sentence": "Denied.",
        "reply": True,
    }


def test_a_host_that_cannot_be_asked_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    _, shown = run(monkeypatch, FakeOperator(BLOCKED, CliError("it is on no host now")))
    assert "note: the host of eni-1 cannot be asked what is in force: it is on no host now" in shown


@pytest.mark.parametrize("port", ["0/tcp", "65536/udp", "22/sctp", "ssh", "22/", "/tcp", ""])
def test_what_is_no_port(monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    operator = FakeOperator(OPEN, FINDINGS)
    code, shown = run(monkeypatch, operator, "--port", port)
    if port == "22/":
        assert (code, operator.asked[0][2:]) == (0, ("tcp", 22))
    else:
        assert (code, operator.asked) == (2, [])
        assert "is not like 22/tcp" in shown
