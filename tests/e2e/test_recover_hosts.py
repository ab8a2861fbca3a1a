"""A controller of several hosts is lost without a backup: hosts join a new one, one by one, and guests notice nothing.

The new one has its state in PostgreSQL, where that is installed.
"""

import contextlib
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from stead_cli import cloud, enrolment, processes, ssh
from stead_cli.errors import CliError
from stead_cli.rig_cloud import RigHost
from stead_proto import tls
from tests.support import box
from tests.support.clients import FAST, Account
from tests.support.lost_state import lose
from tests.support.postgresql import PostgresqlServer
from tests.support.real_cloud import kill
from tests.support.rig import RigUser, TestRig
from tests.support.street import disk
from tests.support.waiting import wait_for

BOOT_ID = "cat /proc/sys/kernel/random/boot_id"
# Writes numbers without a pause, in the background, and notes what could not be written.
WRITES = (
    "sudo sh -c 'rm -f /tmp/enough /tmp/ended /tmp/failed /tmp/written;"
    " (while [ ! -e /tmp/enough ]; do n=$((n + 1)); echo $n | dd of={disk} conv=fsync || echo $n >>/tmp/failed;"
    " echo $n >>/tmp/written; done; touch /tmp/ended) </dev/null >/dev/null 2>&1 &'"
)


@pytest.mark.timeout(1200)  # a rig of its own with two guests, beside other tests
def test_a_cloud_of_several_hosts_comes_back_without_any_backup(tmp_path: Path) -> None:
    box.run_in_another(_lose_it_and_recover, tmp_path)


def _lose_it_and_recover(folder: Path) -> None:
    with contextlib.ExitStack() as ends:
        database = PostgresqlServer.empty_database(ends)
        rig = TestRig(hosts_wanted=2)
        ends.callback(rig.down)
        rig.up()
        _story(rig, folder, database)


SAME = ("PrivateIpAddress", "PublicIpAddress", "SubnetId", "VpcId", "KeyName")


def _story(rig: TestRig, folder: Path, database: str) -> None:
    one, two = rig.hosts
    user = RigUser(rig, rig.new_account(), folder, rig=rig)
    with rig.only(one):
        [west] = user.run()
    with rig.only(two):
        [east] = user.run()
    volume_id = _volume_of_the_other_host(user, east, west)
    logins = {each: user.login(each) for each in (west, east)}
    shown = {each: user.describe(each) for each in (west, east)}
    boots = {each: login.run(BOOT_ID) for each, login in logins.items()}
    ids = dict(rig.ids)

    def meets(giver: str, taker: str) -> bool:
        return (
            logins[giver]
            .run(f"ping -c 1 -W 5 {shown[taker]['PrivateIpAddress']} >/dev/null && echo yes || true")
            .strip()
            == "yes"
        )

    def all_is_well() -> None:
        assert meets(west, east)
        assert meets(east, west)
        logins[west].run(f"date | sudo dd of={disk(volume_id)} conv=fsync 2>/dev/null")
        assert {each: login.run(BOOT_ID) for each, login in logins.items()} == boots

    all_is_well()
    _put_back_the_authority_of_before_a_change(rig)
    _wait_until_down(rig, ids.values())
    with _writing(logins[west], volume_id) as goes_on:
        _all_join_again_as_they_were(rig, ids, volume_id, goes_on)
    all_is_well()
    kill(rig.rig.controller)
    lose(rig.plan.cloud.controller_dir)
    cloud.start_controller(replace(rig.plan.cloud, database_url=database), rig.rig.underlay.start)
    assert rig.plan.cloud.database_file.exists() == (not database)
    cloud.share_access(rig.plan.cloud)
    all_is_well()

    _join_again(rig, one)
    wait_for(
        lambda: (ids["host-1"], west) in _unclaimed(rig), "the first host says what it has", 60, explain=rig.log_ends
    )
    all_is_well()  # with the other host, too, which this controller does not know
    refused = _adopt_all(rig)
    assert f"No host that is up has said of {volume_id} that it is at home there" in refused[west]["refusal"]
    assert not refused[west]["adopted"]
    all_is_well()

    with _writing(logins[west], volume_id) as goes_on:
        _rest_is_adopted(rig, ids, west, east, volume_id, goes_on)
    all_is_well()
    _it_is_as_before(rig, user, shown, volume_id)
    user.terminate([west, east])
    rig.operator.repair_hosts()
    assert _have_former_certificates(rig) == [False, False], "nothing needs them any more"


def _put_back_the_authority_of_before_a_change(rig: TestRig) -> None:
    """Change the authority, and have the controller be as a backup of before that has it: no host trusts it."""
    chosen = rig.plan.cloud
    kept = rig.folder / "ca-of-before"
    shutil.copytree(chosen.controller_dir / "ca", kept)
    for step in ("rotate", "switch", "finish"):
        rig.stead_well("certificate", step)
    kill(rig.rig.controller)
    shutil.rmtree(chosen.controller_dir / "ca")
    kept.rename(chosen.controller_dir / "ca")
    cloud.start_controller(chosen, rig.rig.underlay.start)
    cloud.share_access(chosen)


def _all_join_again_as_they_were(
    rig: TestRig, ids: dict[str, str], volume_id: str, goes_on: Callable[[], None]
) -> None:
    """The home of a volume joins first, and then the host that uses it."""
    user, home = rig.hosts
    with pytest.raises(CliError, match="an authority that this controller does not know"):
        _join_again(rig, home, _token_of(rig, ids["host-2"]))
    _join_again(rig, home, _token_of(rig, ids["host-2"], "--any-authority"))
    _wait_until_up(rig, [ids["host-2"]])
    goes_on()
    _end_serving(home, volume_id)
    goes_on()
    assert _serves_by(home, volume_id, home.settings.agent_dir / "former"), "its user knows that alone"
    rig.operator.repair_hosts()
    assert _have_former_certificates(rig) == [False, True]
    _join_again(rig, user, _token_of(rig, ids["host-1"], "--any-authority"))
    _wait_until_up(rig, ids.values())
    wait_for(lambda: _serves_by(home, volume_id, home.settings.agent_dir), "its user has joined", 60, poll=0.5)
    goes_on()

    def are_forgotten() -> bool:
        rig.operator.repair_hosts()
        return _have_former_certificates(rig) == [False, False]

    wait_for(are_forgotten, "nothing needs the former certificates any more", 60, poll=1)


def _token_of(rig: TestRig, host_id: str, *options: str) -> str:
    made = json.loads(rig.stead_well("host", "token", "--host", host_id, *options, "--output=json"))
    return str(made["token"])


def _wait_until_down(rig: TestRig, host_ids: Iterable[str]) -> None:
    wait_for(lambda: _states(rig, host_ids) == {"down"}, "they are down", 90, poll=0.5, explain=rig.log_ends)


def _wait_until_up(rig: TestRig, host_ids: Iterable[str]) -> None:
    wait_for(lambda: _states(rig, host_ids) == {"up"}, "they are up", 60, poll=0.2, explain=rig.log_ends)


def _states(rig: TestRig, host_ids: Iterable[str]) -> set[str]:
    return {host.state for host in rig.operator.list_hosts() if host.id in set(host_ids)}


@contextlib.contextmanager
def _writing(login: ssh.Login, volume_id: str) -> Iterator[Callable[[], None]]:
    """Have a guest write to a volume all the time, and give what waits for more of it; no write may have failed then."""

    def numbers() -> int:
        return int(login.run("wc -l </tmp/written || echo 0"))

    login.run(WRITES.format(disk=disk(volume_id)))

    def goes_on() -> None:
        written = numbers()
        wait_for(lambda: numbers() > written + 5, "it goes on writing", 60)

    wait_for(lambda: numbers() > 5, "the guest writes", 60)
    yield goes_on
    goes_on()
    login.run("touch /tmp/enough; while [ ! -e /tmp/ended ]; do sleep 0.1; done; [ ! -e /tmp/failed ]")


def _rest_is_adopted(  # noqa: PLR0917 - what the two hosts have
    rig: TestRig, ids: dict[str, str], west: str, east: str, volume_id: str, goes_on: Callable[[], None]
) -> None:
    """The second host joins, serves the volume by another process, and all that both have is adopted."""
    _join_again(rig, rig.hosts[1])
    said = {(ids["host-1"], west), (ids["host-2"], east), (ids["host-2"], volume_id)}
    wait_for(lambda: said <= _unclaimed(rig), "the second host says it, too", 60, explain=rig.log_ends)
    assert {host.hostname: host.id for host in rig.operator.list_hosts()} == ids
    assert _have_former_certificates(rig) == [True, True]
    _end_serving(rig.hosts[1], volume_id)
    goes_on()
    assert _serves_by(rig.hosts[1], volume_id, rig.hosts[1].settings.agent_dir / "former")
    adopted = _adopt_all(rig)
    assert all(each["adopted"] for each in adopted.values()), adopted
    wait_for(
        lambda: not {each for _, each in _unclaimed(rig)} & {west, east, volume_id},
        "all of it is known",
        60,
        explain=rig.log_ends,
    )


def _have_former_certificates(rig: TestRig) -> list[bool]:
    return [(host.settings.agent_dir / "former").exists() for host in rig.hosts]


def _serves_by(host: RigHost, volume_id: str, certificate: Path) -> bool:
    """Tell whether a host serves a volume by the certificate in this folder; by none while its process is replaced."""
    about = host.place.run("cat", host.settings.volatile_dir / "agent/exports" / volume_id / "about").stdout
    expected = sha256(tls.Identity.load(certificate).certificate_pem).hexdigest()
    return bool(about and json.loads(about)["certificate"] == expected)


def _end_serving(host: RigHost, volume_id: str) -> None:
    """Kill the process by which a host serves a volume; its agent starts another."""
    mark = os.fsencode(host.settings.volatile_dir / "agent/exports" / volume_id)
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended while we looked
            if mark in (each / "cmdline").read_bytes():
                found.append(int(each.name))
    [serving] = found
    os.kill(serving, signal.SIGKILL)


def _it_is_as_before(rig: TestRig, user: RigUser, shown: dict[str, Any], volume_id: str) -> None:
    """EC2 shows the same, and the volume can be detached and deleted."""
    user.account = _again(rig, user.account)
    user.ec2 = user.account.ec2
    user.wait("instance_running", [*shown])
    for each in shown:
        now: dict[str, Any] = {**user.describe(each)}
        assert [now[name] for name in SAME] == [shown[each][name] for name in SAME]
    user.ec2.detach_volume(VolumeId=volume_id)
    user.ec2.get_waiter("volume_available").wait(VolumeIds=[volume_id], WaiterConfig=FAST)
    user.ec2.delete_volume(VolumeId=volume_id)


def _volume_of_the_other_host(user: RigUser, home_guest: str, user_guest: str) -> str:
    """Make a volume at home with one guest, attach it to the other, and return its id."""
    zone = user.describe(home_guest)["Placement"]["AvailabilityZone"]
    volume_id = user.ec2.create_volume(AvailabilityZone=zone, Size=1)["VolumeId"]
    for guest in (home_guest, user_guest):
        user.ec2.attach_volume(VolumeId=volume_id, InstanceId=guest, Device="/dev/sdf")
        user.ec2.get_waiter("volume_in_use").wait(VolumeIds=[volume_id], WaiterConfig=FAST)
        wait_for(partial(_sees, user, guest, volume_id), "the guest sees it", 60)
        if guest == home_guest:
            user.ec2.detach_volume(VolumeId=volume_id)
            user.ec2.get_waiter("volume_available").wait(VolumeIds=[volume_id], WaiterConfig=FAST)
    return volume_id


def _sees(user: RigUser, guest: str, volume_id: str) -> bool:
    return "yes" in user.login(guest).run(f"test -b {disk(volume_id)} && echo yes || true")


def _join_again(rig: TestRig, host: RigHost, token: str = "") -> None:
    """What `stead join --again` does, in the host's place."""
    chosen = host.settings
    tls.write_public(chosen.ca_file, rig.plan.cloud.ca_file.read_bytes())

    def run(command: list[Any], stdin: str) -> tuple[int, str]:
        done = host.place.run(*command, stdin=stdin)
        return done.returncode, done.stderr

    token = token or rig.operator.create_token(rig.plan.host_zone(host.number)).token
    enrolment.enrol(chosen, token, run, again=True)
    processes.stop(host.agent)
    host.start_agent()


def _unclaimed(rig: TestRig) -> set[tuple[str, str]]:
    """Hosts' ids, each with the id of something that it has."""
    return {(row["host_id"], row["id"]) for row in json.loads(rig.stead_well("unclaimed", "list", "--output", "json"))}


def _adopt_all(rig: TestRig) -> dict[str, dict[str, Any]]:
    said = rig.stead("unclaimed", "adopt", "--all", "--output", "json").stdout
    return {row["id"]: row for row in json.loads(said)}


def _again(rig: TestRig, lost: Account) -> Account:
    """A new root key of an account that was made again."""
    made = json.loads(rig.stead_well("account", "create-key", lost.account_id, "--output", "json"))
    return Account(
        lost.account_id, made["access_key_id"], made["secret_access_key"], endpoint=lost.endpoint, ca_file=lost.ca_file
    )
