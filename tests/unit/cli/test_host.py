"""What hosts fail at is shown by `host list`, `status` and `doctor`, with ids and since when."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from stead_cli import cloud, doctor, drain_progress, host, status
from stead_cli.__main__ import cli
from stead_cli.errors import CliError
from stead_proto.v1 import operator_pb2 as pb

WELL = pb.Host(id="h-1", hostname="one", state="up")
ILL = pb.Host(
    id="h-2",
    hostname="two",
    state="up",
    errors=[pb.HostError(kind="security_group", id="sg-1", error="no such table", since=1_800_000_000)],
    error_count=8,
    unclaimed=[pb.HostError(kind="machine", id="i-9", error="unknown", since=1_800_000_000)],
    unclaimed_count=3,
)
UNKNOWN = ("machine i-9 since 2027-01-15T08:00:00+00:00", "and 2 more: stead host show h-2 --output json")
LINES = ("security group sg-1 since 2027-01-15T08:00:00+00:00: no such table", "and 7 more")


ASKED: list[pb.SetHostRequest] = []
LEAVING = [
    pb.HostUse(kind="volume", id="vol-1", state="available", note="it moves to another host", percent=45),
    pb.HostUse(kind="instance", id="i-1", state="running", note="it runs here"),
]
DRAINS: list[tuple[bool, int, int]] = []


class FakeOperator:
    """Knows two hosts."""

    def __init__(self, settings: object) -> None:
        pass

    def list_hosts(self) -> list[pb.Host]:
        return [WELL, ILL]

    def show_host(self, host_id: str) -> pb.Host:
        return self.set_host(pb.SetHostRequest(host_id=host_id, labels={"rack": "7"}))

    def set_host(self, request: pb.SetHostRequest) -> pb.Host:
        ASKED.append(request)
        uses = [pb.HostUse(kind="volume", id="vol-1", state="available")]
        terms = {"overcommit_cpus": 2.5, "reserve_memory": 1 << 30, "emulation_memory": 64 << 20}
        return pb.Host(id=request.host_id, state="up", labels=request.labels, uses=uses, **terms)

    def create_token(
        self, zone: str, valid_seconds: int, *, host_id: str, any_authority: bool
    ) -> pb.CreateEnrolmentTokenResponse:
        made = f"{host_id or zone} {valid_seconds} {any_authority}"
        return pb.CreateEnrolmentTokenResponse(token=made, expires=1_800_000_000, ca_pem=b"ca", host_id=host_id)

    def mend_rows(self, *, only_look: bool) -> list[pb.OrphanedRow]:
        assert only_look
        return []

    def set_schedulable(self, host_id: str, *, schedulable: bool) -> pb.Host:
        return pb.Host(id=host_id, state="up" if schedulable else "cordoned")

    def drain_host(self, host_id: str, *, stop: bool, at: int, latest: int) -> pb.Host:
        DRAINS.append((stop, at, latest))
        return pb.Host(id=host_id, state="draining", hostname="stopped" if stop else "", uses=LEAVING[:1])


@pytest.fixture(autouse=True)
def _a_cloud_that_answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STEAD_STATE_DIR", str(tmp_path))
    monkeypatch.setattr(cloud, "controller_health", lambda _settings: cloud.Health(answers=True, detail="ok"))
    monkeypatch.setattr(doctor, "agent_checks", lambda _settings: [])
    for module in (host, status, doctor):
        monkeypatch.setattr(module, "Operator", FakeOperator)


@pytest.mark.parametrize("command", [["host", "list"], ["status"]])
def test_below_the_hosts(command: list[str]) -> None:
    shown = CliRunner().invoke(cli, command)
    assert "two (h-2) fails at this, and tries again by itself:" in shown.stderr
    assert all(f"  {line}\n" in shown.stderr for line in LINES)
    assert "one (h-1)" not in shown.stderr
    kept = shown.stderr.partition("two (h-2) has this, which the database, an older copy, does not know:\n")[2]
    assert [line.strip() for line in kept.splitlines()[:2]] == list(UNKNOWN)
    assert "stead unclaimed list" in kept.splitlines()[2]


def test_as_json() -> None:
    rows = json.loads(CliRunner().invoke(cli, ["host", "list", "--output", "json"]).stdout)
    assert [(row["error_count"], row["unclaimed_count"]) for row in rows] == [(0, 0), (8, 3)]
    assert rows[1]["unclaimed"] == [{"kind": "machine", "id": "i-9", "since": "2027-01-15T08:00:00+00:00"}]
    assert rows[1]["errors"] == [
        {"kind": "security_group", "id": "sg-1", "since": "2027-01-15T08:00:00+00:00", "error": "no such table"}
    ]


def _checks() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(CliRunner().invoke(cli, ["doctor", "--output", "json"]).stdout)
    return found


def test_the_doctor_warns() -> None:
    one, two, unknown = _checks()[-3:]
    assert (one["name"], one["status"], one["detail"]) == ("host one", "ok", "up, fails at nothing")
    assert (two["name"], two["status"], two["detail"]) == ("host two", "warning", "\n".join(LINES))
    assert "stead logs agent" in two["remedy"]
    assert (unknown["name"], unknown["status"], unknown["detail"]) == ("unknown on two", "warning", "\n".join(UNKNOWN))
    assert "stead unclaimed list" in unknown["remedy"]


def test_the_doctor_goes_on_without_access(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_settings: object) -> FakeOperator:
        raise CliError("you have no certificate", "./stead up")

    monkeypatch.setattr(doctor, "Operator", refused)
    assert _checks()[-1] == {
        "name": "hosts",
        "status": "warning",
        "detail": "you have no certificate",
        "remedy": "./stead up",
    }


def test_pools_are_shown_with_what_is_promised_of_them():
    gib = 1 << 30
    main = pb.HostPool(
        name="main", backend="directory", total=100 * gib, free=60 * gib, promised=150 * gib, is_default=True
    )
    slow = pb.HostPool(name="slow", backend="lvm", total=10 * gib, free=10 * gib, volume_types=["st1"])
    row = host.row_of(pb.Host(id="h-1", hostname="one", state="up", pools=[main, slow]))
    assert row["disk"] == "150.0 GiB of 100.0 GiB, 60.0 GiB free; slow 0 B of 10.0 GiB, 10.0 GiB free"
    assert row["pools"][1] == {
        "name": "slow",
        "backend": "lvm",
        "total": 10 * gib,
        "free": 10 * gib,
        "promised": 0,
        "volume_types": ["st1"],
        "is_default": False,
    }


@pytest.mark.parametrize(
    ("found", "shown"),
    [
        (pb.Host(), "BIOS"),
        (pb.Host(uefi=True), "BIOS, UEFI"),
        (pb.Host(uefi=True, tpm=True), "BIOS, UEFI, TPM"),
    ],
)
def test_by_what_firmware_guests_of_a_host_can_boot_is_shown(found: pb.Host, shown: str) -> None:
    assert host.row_of(found)["firmware"] == shown
    assert "firmware" in host.COLUMNS


def test_one_host_is_shown_with_its_settings_and_what_is_on_it() -> None:
    shown = CliRunner().invoke(cli, ["host", "show", "h-7"])
    assert "h-7" in shown.stdout
    kept = "and keeps 1.0 GiB for itself, 64.0 MiB for emulation\n"
    for line in ("labels: rack=7", "offers 2.5 vCPUs per thread", kept, "has the volume vol-1 (available)"):
        assert line in shown.stderr
    row = json.loads(CliRunner().invoke(cli, ["host", "show", "h-7", "--output", "json"]).stdout)
    assert row["emulation_memory"] == 64 << 20
    assert (row["labels"], row["uses"]) == (
        {"rack": "7"},
        [{"kind": "volume", "id": "vol-1", "state": "available", "note": "", "percent": None}],
    )


def test_what_is_set_of_a_host() -> None:
    options = ["--zone", "z", "--label", "rack=7", "--label", "empty=", "--remove-label", "old", "--overcommit-cpus"]
    options += ["1.5", "--overcommit-memory", "0", "--reserve-memory", "2048"]
    assert CliRunner().invoke(cli, ["host", "set", "h-7", *options]).exit_code == 0
    assert ASKED[-1] == pb.SetHostRequest(
        host_id="h-7",
        zone="z",
        labels={"rack": "7", "empty": ""},
        removed_labels=["old"],
        overcommit_cpus=1.5,
        overcommit_memory=0,
        reserve_memory=2 << 30,
    )
    assert CliRunner().invoke(cli, ["host", "set", "h-7"]).exit_code == 0
    assert ASKED[-1] == pb.SetHostRequest(host_id="h-7")
    assert "must be KEY=VALUE" in CliRunner().invoke(cli, ["host", "set", "h-7", "--label", "rack"]).stderr


@pytest.mark.parametrize(("command", "state"), [("cordon", "cordoned"), ("uncordon", "up"), ("drain", "draining")])
def test_the_state_that_an_operator_sets(command: str, state: str) -> None:
    assert json.loads(CliRunner().invoke(cli, ["host", command, "h-7", "--output", "json"]).stdout)["state"] == state


def test_a_host_is_drained_at_a_time() -> None:
    def drain(*options: str) -> str:
        return CliRunner().invoke(cli, ["host", "drain", "h-7", *options]).stderr

    drain("--stop", "--at", "2027-01-31T22:00", "--latest", "2027-02-01T00:00+01:00")
    assert DRAINS[-1] == (True, 1_801_432_800, 1_801_436_400)
    drain("--stop")
    assert DRAINS[-1] == (True, 0, 0)
    count = len(DRAINS)
    assert "--at goes with --stop" in drain("--at", "2027-01-31T22:00")
    assert "--latest with --at" in drain("--stop", "--latest", "2027-01-31T22:00")
    assert "'tomorrow' is no time" in drain("--stop", "--at", "tomorrow")
    assert len(DRAINS) == count


def test_devices_of_a_host_are_shown_with_who_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = [
        pb.HostDevice(address="0000:01:00.0", model="10de:1eb8", class_code=0x030200, iommu_group=7, instance_id="i-1"),
        pb.HostDevice(address="0000:02:00.0", model="10de:1eb8", iommu_group=8),
        pb.HostDevice(address="0000:03:00.0", model="10de:1eb8", refusal="it is a bridge"),
    ]
    monkeypatch.setattr(FakeOperator, "show_host", lambda _self, _id: pb.Host(id="h-9", devices=devices))
    shown = CliRunner().invoke(cli, ["host", "show", "h-9"])
    assert "device 0000:01:00.0 (10de:1eb8): i-1 has it" in shown.stderr
    assert "device 0000:02:00.0 (10de:1eb8): free, in IOMMU group 8" in shown.stderr
    assert "device 0000:03:00.0 (10de:1eb8): it is a bridge" in shown.stderr
    row = json.loads(CliRunner().invoke(cli, ["host", "show", "h-9", "--output", "json"]).stdout)["devices"][0]
    assert (row["class"], row["instance_id"]) == ("030200", "i-1")


def test_whole_cores_of_a_host_are_shown_with_who_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    found = pb.Host(
        id="h-9",
        numa_nodes=[pb.HostNumaNode(number=1, huge_pages=70), pb.HostNumaNode(number=2)],
        whole_cores=[
            pb.HostCore(number=2, numa_node=1, threads=[2, 6], instance_id="i-1", huge_pages=64),
            pb.HostCore(number=3, numa_node=1, threads=[3, 7]),
            pb.HostCore(number=4, numa_node=2, threads=[4], instance_id="i-2", gone=True),
        ],
    )
    monkeypatch.setattr(FakeOperator, "show_host", lambda _self, _id: found)
    shown = CliRunner().invoke(cli, ["host", "show", "h-9"]).stderr.splitlines()
    assert shown[-4:] == [
        "core of the threads 2, 6 in memory node 1: i-1 has it",
        "core of the threads 3, 7 in memory node 1: free",
        "core of the threads 4 in memory node 2: i-2 has it, and it is no longer set apart",
        "memory node 1: 6 of 70 huge pages are free",
    ]
    row = json.loads(CliRunner().invoke(cli, ["host", "show", "h-9", "--output", "json"]).stdout)
    assert [core["instance_id"] for core in row["whole_cores"]] == ["i-1", None, "i-2"]
    assert [node["huge_pages"] for node in row["numa_nodes"]] == [70, 0]


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (pb.Host(virtualization="kvm"), "KVM: proven by a guest that booted with it"),
        (
            pb.Host(virtualization="qemu", virtualization_reason="no /dev/kvm"),
            "not proven, guests are emulated (no /dev",
        ),
        (pb.Host(cpus=8, cores=4, cpu_model="Fast"), "processors: Fast, 4 cores, 8 threads"),
        (pb.Host(cpus=8), "processors: not known, ? cores, 8 threads"),
        (
            pb.Host(numa_nodes=[pb.HostNumaNode(number=1, threads="0-3", memory=1 << 30)]),
            "node 1: 1.0 GiB, threads 0-3",
        ),
    ],
    ids=str,
)
def test_its_hardware_is_shown(monkeypatch: pytest.MonkeyPatch, found: pb.Host, line: str) -> None:
    monkeypatch.setattr(FakeOperator, "show_host", lambda _self, _host_id: found)
    assert line in CliRunner().invoke(cli, ["host", "show", "h-7"]).stderr
    row = json.loads(CliRunner().invoke(cli, ["host", "show", "h-7", "--output", "json"]).stdout)
    assert row["kvm_proven"] == (found.virtualization == "kvm")
    assert [node["threads"] for node in row["numa_nodes"]] == [node.threads for node in found.numa_nodes]


def test_what_leaves_a_host_is_shown_with_how_far_it_is_and_what_stays_with_the_reason() -> None:
    shown = CliRunner().invoke(cli, ["host", "drain", "h-7"]).stderr
    assert "has the volume vol-1 (available): it moves to another host, 45 %\n" in shown


def test_a_drain_is_waited_for_until_nothing_moves_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    stays = pb.Host(id="h-7", state="draining", uses=LEAVING[1:])
    seen = [pb.Host(id="h-7", state="draining", uses=LEAVING), stays]
    monkeypatch.setattr(FakeOperator, "show_host", lambda _self, _id: seen.pop(0))
    monkeypatch.setattr(drain_progress, "LOOK_SECONDS", 0.0)
    shown = CliRunner().invoke(cli, ["host", "drain", "h-7", "--wait", "--output", "json"])
    assert [use["id"] for use in json.loads(shown.stdout)["uses"]] == ["i-1"]
    assert seen == []


def test_a_host_that_is_empty_or_is_drained_no_more_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeOperator, "show_host", lambda _self, _id: pytest.fail("it is asked again"))
    for state in ("drained", "up", "down"):
        found = pb.Host(id="h-7", state=state, uses=LEAVING)
        assert drain_progress.follow(FakeOperator(None), found) is found


@pytest.mark.parametrize(("options", "hostname"), [([], ""), (["--stop"], "stopped")])
def test_guests_are_stopped_only_if_that_is_asked(options: list[str], hostname: str) -> None:
    shown = CliRunner().invoke(cli, ["host", "drain", "h-7", *options, "--output", "json"]).stdout
    assert json.loads(shown)["hostname"] == hostname


def test_a_token_is_for_a_new_host_or_for_one_that_joins_again() -> None:
    new = CliRunner().invoke(cli, ["host", "token", "--zone=b"])
    assert new.stdout == "b 3600 False\n"
    assert "On the new host" in new.stderr
    known = CliRunner().invoke(cli, ["host", "token", "--host=h-1", "--valid-seconds=9", "--any-authority"])
    assert known.stdout == "h-1 9 True\n"
    assert "On h-1, with" in known.stderr
    assert "stead join THIS-MACHINE --ca ca.pem --token-file FILE --again" in known.stderr
    for words, host_id in ((["--host=h-1"], "h-1"), ([], None)):
        shown = json.loads(CliRunner().invoke(cli, ["host", "token", "--output=json", *words]).stdout)
        assert (shown["host_id"], shown["expires"]) == (host_id, "2027-01-15T08:00:00+00:00")
    refused = CliRunner().invoke(cli, ["host", "token", "--any-authority"])
    assert (refused.exit_code, "goes with --host" in refused.output) == (1, True)


@pytest.mark.parametrize(
    ("ends", "until", "said"),
    [
        (0, 0, []),
        (2_000, 0, ["its certificate is valid until 1970-01-01T00:33:20+00:00"]),
        (1_000, 900, ["its certificate has expired on 1970-01-01T00:16:40+00:00: stead host token --host h-1,"]),
        (1_000, 1_001, ["its certificate has expired", "a token with which it joins again until 1970-01-01T00:16:41"]),
    ],
)
def test_a_certificate_that_has_expired_is_said(ends: int, until: int, said: list[str]) -> None:
    lines = host._certificate(pb.Host(id="h-1", certificate_ends=ends, joins_until=until), 1_000)
    assert len(lines) == len(said)
    assert all(part in line for part, line in zip(said, lines, strict=True))
