"""`stead unclaimed` shows what hosts have and the database does not know, and has it adopted or removed."""

import json

import pytest
from click.testing import CliRunner

from stead_cli import unclaimed
from stead_cli.__main__ import cli
from stead_cli.errors import CliError
from stead_proto.v1 import operator_pb2 as pb

SINCE = 1_800_000_000
FOUND = [
    pb.UnclaimedSummary(host_id="h-1", kind="volume", id="vol-2", since=SINCE, what="gp2, 1 GiB", size=1 << 30),
    pb.UnclaimedSummary(
        host_id="h-1",
        kind="machine",
        id="i-1",
        since=SINCE,
        account_id="111111111111",
        what="t3.micro, to run",
        instance_type="t3.micro",
        image_id="ami-1",
        is_running=True,
        volume_ids=["vol-1"],
        interface_ids=["eni-1"],
    ),
    pb.UnclaimedSummary(host_id="h-1", kind="volume", id="vol-1", part_of="i-1", since=SINCE),
    pb.UnclaimedSummary(host_id="h-1", kind="nat_gateway", id="nat-1", since=SINCE),
    pb.UnclaimedSummary(host_id="h-2", kind="machine", id="i-2", since=SINCE),
]


class FakeOperator:
    """Adopts i-1 with a note, and vol-2 for an account only."""

    def __init__(self, settings):
        self.asked = ASKED

    def list_unclaimed(self, host_id=""):
        return [each for each in FOUND if host_id in {"", each.host_id}]

    def adopt_unclaimed(self, resource_id, account_id="", *, dry_run=False):
        self.asked.append((resource_id, account_id, dry_run))
        if resource_id == "i-2" or (resource_id == "vol-2" and not account_id):
            raise CliError(f"{resource_id} is not known enough")
        return ["its tags are not known"] if resource_id == "i-1" else []

    def remove_unclaimed(self, ids, host_id=""):
        self.asked.append((ids, host_id))
        return [each for each in FOUND if ids[0] in {each.id, each.part_of}]


ASKED = []


@pytest.fixture
def call(monkeypatch):
    ASKED.clear()
    monkeypatch.setattr(unclaimed, "Operator", FakeOperator)
    return lambda *words: CliRunner().invoke(cli, ["unclaimed", *words])


def test_a_list_names_what_belongs_together(call):
    lines = call("list").stdout.splitlines()
    assert lines[0].split("\t") == ["ID", "KIND", "PART OF", "HOST ID", "ACCOUNT ID", "WHAT"]
    assert lines[2].split("\t") == ["i-1", "machine", "-", "h-1", "111111111111", "t3.micro, to run"]
    assert lines[4].split("\t")[1] == "nat gateway"
    assert [row["id"] for row in json.loads(call("list", "--host", "h-2", "--output", "json").stdout)] == ["i-2"]
    machine = json.loads(call("list", "--output", "json").stdout)[1]
    assert machine == {
        "id": "i-1",
        "kind": "machine",
        "part_of": None,
        "host_id": "h-1",
        "account_id": "111111111111",
        "what": "t3.micro, to run",
        "since": "2027-01-15T08:00:00+00:00",
        "instance_type": "t3.micro",
        "image_id": "ami-1",
        "is_running": True,
        "size": None,
        "addresses": [],
        "volume_ids": ["vol-1"],
        "interface_ids": ["eni-1"],
    }


def test_what_would_come_of_an_adoption_is_shown_and_nothing_done(call):
    shown = call("show", "i-1")
    assert [line.split("\t")[0] for line in shown.stdout.splitlines()] == ["ID", "i-1", "vol-1"]
    assert shown.stderr.splitlines() == ["it can be adopted; then:", "  its tags are not known"]
    assert call("show", "vol-2", "--account", "1").stderr == "it can be adopted\n"
    assert call("show", "vol-2").stderr == "it cannot be adopted: vol-2 is not known enough\n"
    found = json.loads(call("show", "i-2", "--output", "json").stdout)
    assert (found["adoptable"], found["refusal"], found["notes"]) == (False, "i-2 is not known enough", [])
    assert {dry for _, _, dry in ASKED} == {True}
    assert "no host has an unclaimed i-9" in call("show", "i-9").stderr


def test_each_is_adopted_by_itself(call):
    done = call("adopt", "i-2", "i-1")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[:3] == [
        "i-2 is not adopted: i-2 is not known enough",
        "i-1 is adopted",
        "  its tags are not known",
    ]
    assert ASKED == [("i-2", "", False), ("i-1", "", False)]
    done = call("adopt", "vol-2", "--account", "1", "--output", "json")
    assert done.exit_code == 0
    assert json.loads(done.stdout) == [{"id": "vol-2", "adopted": True, "notes": [], "refusal": None}]


def test_all_are_instances_first_and_no_parts(call):
    call("adopt", "--all", "--account", "1")
    assert [asked[0] for asked in ASKED] == ["i-1", "i-2", "nat-1", "vol-2"]


def test_what_was_adopted_with_another_is_no_failure_of_all(call, monkeypatch):
    def gone(self, resource_id, account_id="", *, dry_run=False):
        raise CliError(f"No host has an unclaimed {resource_id}.")

    monkeypatch.setattr(FakeOperator, "adopt_unclaimed", gone)
    assert (call("adopt", "--all").exit_code, call("adopt", "i-1").exit_code) == (0, 1)


@pytest.mark.parametrize("words", [[], ["--all", "i-1"]])
def test_what_is_to_be_adopted_must_be_said_once(call, words):
    done = call("adopt", *words)
    assert done.exit_code == 1
    assert ASKED == []


def test_all_that_goes_is_named(call):
    done = call("remove", "i-1", "--host", "h-1")
    assert done.stderr.splitlines() == ["h-1 removes the machine i-1", "h-1 removes the volume vol-1"]
    assert ASKED == [(("i-1",), "h-1")]
    rows = json.loads(call("remove", "i-1", "--output", "json").stdout)
    assert [row["id"] for row in rows] == ["i-1", "vol-1"]
