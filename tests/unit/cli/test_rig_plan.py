"""A rig's addresses do not meet, and what cannot be is refused before anything is made."""

import itertools
import json
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from click.testing import CliRunner

from stead_cli import rig_plan
from stead_cli.__main__ import cli
from stead_cli.errors import CliError
from stead_cli.rig_plan import MOST_HOSTS, RigPlan


@pytest.mark.parametrize("network", ["198.19.0.0/16", "10.20.0.0/16", "10.9.48.0/20"])
def test_addresses_are_where_they_belong_and_all_differ(network: str) -> None:
    plan = RigPlan(hosts=MOST_HOSTS, network=network)
    uplinks = [plan.host_uplink_address(number) for number in plan.numbers]
    underlays = [plan.host_underlay_address(number) for number in plan.numbers]
    assert all(
        address in plan.internet and address not in plan.public_pool
        for address in [plan.gateway, plan.api_address, *uplinks]
    )
    assert all(address in plan.underlay for address in [plan.controller_address, *underlays])
    callers = [plan.caller_internet_address, plan.caller_underlay_address]
    all_of_them = [plan.gateway, plan.api_address, plan.controller_address, *callers, *uplinks, *underlays]
    assert len(set(all_of_them)) == len(all_of_them)
    assert all(address in IPv4Network(network) for address in all_of_them)
    # Hosts answer ARP for public addresses only when these are their uplink's neighbours.
    assert plan.public_pool.subnet_of(plan.internet)
    assert 16 <= plan.public_pool.prefixlen <= 29
    assert not plan.underlay.overlaps(plan.internet)


@pytest.mark.parametrize(("mtu", "guests"), [(1600, 1500), (1550, 1500), (1500, 1450), (9000, 1500)])
def test_what_guests_send_fits_through_the_underlay(mtu: int, guests: int) -> None:
    assert RigPlan(mtu=mtu).guest_mtu == guests


def test_two_rigs_have_links_of_their_own_in_the_callers_namespace() -> None:
    plans = [RigPlan(Path("/var/lib/stead-rig")), RigPlan(Path("/var/tmp/another"))]
    names = list(itertools.chain.from_iterable((plan.controller_link, plan.internet_link) for plan in plans))
    assert len(set(names)) == 4
    assert all(len(name) <= 15 for name in names)


def test_choices_are_remembered_and_hosts_may_be_added(tmp_path: Path) -> None:
    plan = rig_plan.chosen(tmp_path, {"hosts": 2, "mtu": 9000, "network": None})
    plan.remember()
    assert rig_plan.remembered(tmp_path) == plan
    assert rig_plan.chosen(tmp_path, {"hosts": None, "mtu": None}) == plan
    assert rig_plan.chosen(tmp_path, {"hosts": 3}).hosts == 3
    for change in ({"hosts": 1}, {"mtu": 1500}, {"network": "10.0.0.0/16"}):
        with pytest.raises(CliError, match="is there with 2 hosts"):
            rig_plan.chosen(tmp_path, change)


@pytest.mark.parametrize(
    "choices",
    [{"hosts": 0}, {"hosts": 33}, {"mtu": 1000}, {"mtu": 70000}, {"network": "x"}, {"network": "10.0.0.0/24"}, {"network": "10.0.0.1/16"}, {"zones": 0}, {"zones": 4}, {"hosts": 9, "zones": 7}],
)  # fmt: skip
def test_what_cannot_be_is_refused(tmp_path: Path, choices: dict[str, object]) -> None:
    with pytest.raises(CliError):
        rig_plan.chosen(tmp_path, choices)
    assert list(tmp_path.iterdir()) == []


def test_hosts_are_in_zones_in_turn(tmp_path: Path) -> None:
    one = RigPlan(tmp_path)
    assert ([one.host_zone(number) for number in one.numbers], one.cloud.zones) == (["us-east-1a"] * 3, "a")
    two = rig_plan.chosen(tmp_path, {"hosts": 3, "zones": 2})
    assert [two.host_zone(number) for number in two.numbers] == ["us-east-1a", "us-east-1b", "us-east-1a"]
    assert two.cloud.zones == "ab"
    two.remember()
    with pytest.raises(CliError, match="zones 2"):
        rig_plan.chosen(tmp_path, {"zones": 3})
    assert rig_plan.chosen(tmp_path, {"hosts": 4, "zones": None}).host_zone(4) == "us-east-1b"


def test_pools_are_all_hosts_or_ones(tmp_path: Path) -> None:
    mine = ("shared:rbd:stead@/etc/ceph/x=y.conf", "2=fast:directory:/disks/2:io1,io2", "1=default:lvm:vg/thin")
    plan = rig_plan.chosen(tmp_path, {"hosts": 3, "pools": mine})
    assert plan.host_settings(1).pools == "shared:rbd:stead@/etc/ceph/x=y.conf default:lvm:vg/thin"
    assert plan.host_settings(2).pools == "shared:rbd:stead@/etc/ceph/x=y.conf fast:directory:/disks/2:io1,io2"
    assert plan.host_settings(3).pools == "shared:rbd:stead@/etc/ceph/x=y.conf"
    assert not plan.cloud.pools
    plan.remember()
    assert rig_plan.chosen(tmp_path, {"pools": ()}) == plan
    with pytest.raises(CliError, match=r"pools shared:rbd:stead@/etc/ceph/x=y.conf 2=fast"):
        rig_plan.chosen(tmp_path, {"pools": mine[:1]})


@pytest.mark.parametrize(
    ("pools", "words"),
    [
        (["3=a:rbd:stead"], "hosts 1 to 2"),
        (["0=a:rbd:stead"], "hosts 1 to 2"),
        (["a"], "is no pool"),
        (["a:nfs:/disks"], "is no pool"),
        (["a:directory:/disks"], "one host's alone"),
        (["1=a:directory:/disks:io1", "2=b:directory:/disks/"], "one host's alone"),
        (["1=a:lvm:vg/thin", "2=a:lvm:vg/thin"], "one host's alone"),
    ],
)
def test_pools_that_cannot_be_are_refused(tmp_path: Path, pools: list[str], words: str) -> None:
    with pytest.raises(CliError, match=words):
        rig_plan.chosen(tmp_path, {"hosts": 2, "pools": tuple(pools)})


@pytest.mark.parametrize(("content", "hosts"), [("", None), ("\0", None), ("{}", 3), ('{"hosts": 2, "new": 1}', 2)])
def test_a_record_of_another_version_is_no_trouble(tmp_path: Path, content: str, hosts: int | None) -> None:
    (tmp_path / "rig.json").write_text(content)
    found = rig_plan.remembered(tmp_path)
    assert (found.hosts if found else None) == hosts


@pytest.mark.parametrize("command", [["env"], ["status"], ["exec", "host-1", "true"]])
def test_without_a_rig_each_command_says_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setenv("STEAD_RIG_DIR", str(tmp_path))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    result = CliRunner().invoke(cli, ["rig", *command])
    assert result.exit_code == 1
    assert "./stead rig up" in result.output


@pytest.mark.parametrize("command", ["up", "down", "status"])
def test_a_rig_is_not_taken_for_a_cloud_of_one_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    (tmp_path / "rig.json").write_text(json.dumps({"hosts": 2}))
    monkeypatch.setenv("STEAD_STATE_DIR", str(tmp_path))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    result = CliRunner().invoke(cli, [command])
    assert result.exit_code == 1
    assert "is a rig" in result.output


def test_a_cloud_of_one_machine_is_not_taken_for_a_rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "settings.json").write_text("{}")
    monkeypatch.setenv("STEAD_RIG_DIR", str(tmp_path))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    for command in ("up", "down"):
        result = CliRunner().invoke(cli, ["rig", command])
        assert result.exit_code == 1
        assert "is a cloud, not a rig" in result.output
    assert [file.name for file in tmp_path.iterdir()] == ["settings.json"]
