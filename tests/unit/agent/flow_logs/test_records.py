"""What was counted becomes EC2's lines, added up until an interval ends, and never endless."""

from pathlib import Path

import pytest

from stead_agent.flow_logs import tally
from stead_agent.flow_logs.files import FILES, RecordFiles, folder_name
from stead_agent.flow_logs.interface import FlowLog, Interface, VpcFlowLogs
from stead_agent.flow_logs.tally import Counted, Rejected, Tally

WEB = Interface("eni-00000001", "06:00:00:00:00:01", ("10.0.1.10", "2001:db8::a"), "subnet-00000001", "i-00000001")
APP = Interface("eni-00000002", "06:00:00:00:00:02", ("10.0.1.11",), "subnet-00000001")
BOTH = frozenset({WEB.id, APP.id})


def log(**values: object) -> FlowLog:
    fields: dict[str, object] = {
        "id": "fl-00000001",
        "log_group": "flows",
        "interface_ids": BOTH,
        "accepted": True,
        "rejected": True,
        "account_id": "123456789012",
        "aggregation_seconds": 60,
    }
    return FlowLog(**(fields | values))  # type: ignore[arg-type]  # the test's own


def lines(of: Tally, now: int, number: int = 0) -> dict[str, list[str]]:
    return {interface.id: found for interface, found in of.ended(of.desired.logs[number], now)}


def test_a_flow_is_two_records_at_each_end() -> None:
    of = Tally(VpcFlowLogs("vpc-1", (log(),), (WEB, APP)), 1000)
    of.counted(Counted(6, "10.0.1.10", "10.0.1.11", 40000, 22, (3, 180), (2, 120)), 1010)
    of.counted(Counted(6, "10.0.1.10", "10.0.1.11", 40000, 22, (1, 60), (0, 0)), 1030)
    there = "10.0.1.10 10.0.1.11 40000 22 6 4 240 1000 1030 ACCEPT OK"
    back = "10.0.1.11 10.0.1.10 22 40000 6 2 120 1000 1010 ACCEPT OK"
    assert lines(of, 1060) == {
        it.id: [f"2 123456789012 {it.id} {there}", f"2 123456789012 {it.id} {back}"] for it in (WEB, APP)
    }
    assert lines(of, 1120) == {it.id: [f"2 123456789012 {it.id} - - - - - - - 1060 1120 - NODATA"] for it in (WEB, APP)}


def test_a_rejected_packet_was_let_out_where_its_receiver_rejects_it() -> None:
    of = Tally(VpcFlowLogs("vpc-1", (log(),), (WEB, APP)), 1000)
    of.rejected(Rejected(17, "10.0.1.10", "10.0.1.11", 1, 53, 33, WEB.mac, is_egress=False), 1001)
    of.rejected(Rejected(17, "10.0.1.10", "8.8.8.8", 1, 53, 33, WEB.mac, is_egress=True), 1002)
    found = lines(of, 1060)
    assert [line.split()[3:5] + line.split()[-2:] for line in found[WEB.id]] == [
        ["10.0.1.10", "10.0.1.11", "ACCEPT", "OK"],
        ["10.0.1.10", "8.8.8.8", "REJECT", "OK"],
    ]
    assert [line.split()[-2] for line in found[APP.id]] == ["REJECT"]


def test_a_log_has_what_it_asks_for() -> None:
    formats = "${vpc-id} ${subnet-id} ${instance-id} ${type} ${flow-direction} ${action} ${nonsense}"
    rejects = log(id="fl-2", accepted=False, format=formats, interface_ids=frozenset({WEB.id}))
    accepts = log(id="fl-3", rejected=False, format="${version} ${flow-direction}")
    of = Tally(VpcFlowLogs("vpc-1", (rejects, accepts), (WEB, APP)), 1000)
    of.counted(Counted(58, "2001:db8::a", "2001:db8::1", 0, 0, (1, 104), (1, 104)), 1001)
    of.rejected(Rejected(58, "2001:db8::a", "2001:db8::b", 0, 0, 104, WEB.mac, is_egress=True), 1001)
    assert lines(of, 1060) == {WEB.id: ["vpc-1 subnet-00000001 i-00000001 IPv6 egress REJECT -"]}
    assert lines(of, 1060, 1)[WEB.id] == ["5 egress", "5 ingress"]


def test_intervals_end_each_in_its_own_time() -> None:
    of = Tally(VpcFlowLogs("vpc-1", (log(), log(id="fl-2", aggregation_seconds=600)), (WEB,)), 1000)
    assert of.due(1059) == []
    assert [it.id for it in of.due(1060)] == ["fl-00000001"]
    assert [it.id for it in of.due(1600)] == ["fl-00000001", "fl-2"]


def test_too_many_flows_are_skipped_and_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "MOST_FLOWS", 10)
    of = Tally(VpcFlowLogs("vpc-1", (log(),), (WEB,)), 1000)
    for port in range(50):
        of.counted(Counted(17, "10.0.1.10", "8.8.8.8", port, 53, (1, 30), (0, 0)), 1001)
    found = lines(of, 1060)[WEB.id]
    assert len(found) == 11
    assert found[-1].endswith("SKIPDATA")
    of.lost()
    assert lines(of, 1120)[WEB.id][-1].endswith("SKIPDATA")


@pytest.mark.parametrize("name", ["../../etc", "/aws/vpc/flows", "..", ".", "", "a b", "é", "x\0y"])
def test_a_log_groups_name_is_one_folder(tmp_path: Path, name: str) -> None:
    RecordFiles(tmp_path / "logs").append(name, WEB.id, ["line"])
    (folder,) = (tmp_path / "logs").iterdir()
    assert [path.name for path in folder.iterdir()] == ["eni-00000001-all.log"]
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]
    assert folder_name(name) != folder_name(name + "x")


def test_files_are_turned_over(tmp_path: Path) -> None:
    files = RecordFiles(tmp_path, largest=100)
    for number in range(60):
        files.append("flows", WEB.id, [f"{number:049d}"])
    found = sorted((tmp_path / "flows").iterdir())
    assert len(found) == FILES
    assert all(path.stat().st_size <= 150 for path in found)
    assert found[0].read_text(encoding="ascii").splitlines()[-1] == f"{59:049d}"
