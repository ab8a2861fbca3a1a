"""A host is lost, and the group is whole again on the others; when it comes back, nothing is doubled."""

import time
from functools import partial

from stead_cli.rig_cloud import RigHost
from tests.recovery.groups_on_rig.stage import Stage, domains
from tests.recovery.groups_on_rig.watch import Group, Watch
from tests.support.real_cloud import kill

NAME = "host"
SIZE = 4
SECONDS = 300.0


def prove(stage: Stage) -> None:
    """The only host of a zone by kills, then one of two of another zone by a power cut."""
    stage.template(NAME, "one")
    with stage.group(NAME, stage.zones, MinSize=SIZE, MaxSize=SIZE + 1) as (group, watch):
        stage.serve(group, watch, SIZE)
        _is_balanced(stage, group)
        first, alone, *_ = stage.rig.hosts
        for host, lose, back in (
            (alone, partial(_kill_all, alone), alone.start_agent),
            (first, first.power_off, stage.rig.up),
        ):
            lost = [one for one in group.states() if stage.host_of(one).name == host.name]
            stage.note(f"{host.name} is lost, with {lost}")
            lose()
            _is_whole(stage, group, watch, lost)
            came = time.monotonic()
            back()
            stage.note(f"{host.name} is back")
            _are_gone(stage, host, lost)
            again = [one for one in lost if any(one in look.pages for look in watch.since(came))]
            stage.show(f"none of them answered again: {again}", holds=not again)
            stage.serve(group, watch, SIZE, 240)
            stage.wait(lambda: _spread(stage, group) <= 1, "the zones are balanced again", SECONDS)
            stage.serve(group, watch, SIZE, 240)
            _is_balanced(stage, group)
            most = max([*look.states.values()].count("InService") for look in watch.since(came))
            stage.show(f"at most {most} in service, of {SIZE}", holds=most <= SIZE + 1)
        stage.tell(group)


def _kill_all(host: RigHost) -> None:
    """Kill the agent and all guests."""
    kill(host.agent)
    host.place.run("pkill", "-KILL", "-f", "^[^ ]*qemu-system")


def _is_whole(stage: Stage, group: Group, watch: Watch, lost: list[str]) -> None:
    """Wait until as many others serve."""
    began = time.monotonic()
    stage.wait(lambda: not {*lost} & {*watch.latest}, "its guests do not answer", 30)

    def serving() -> bool:
        found = {one for one, state in group.states().items() if state == "InService" and one in watch.latest}
        return len(found) == SIZE and not {*lost} & found

    stage.wait(serving, "the group is whole again elsewhere", SECONDS)
    seconds = time.monotonic() - began
    stage.note(f"{seconds:.1f} s from the loss until {SIZE} answer; zones {dict(group.zones())}")
    there = [group.states().get(one) for one in lost]
    stage.note(f"the lost ones meanwhile: {_states(stage, lost)}, in the group {there}")


def _are_gone(stage: Stage, host: RigHost, lost: list[str]) -> None:
    """Wait until nothing of the lost ones is left on their host."""
    stage.wait(lambda: set(_states(stage, lost)) == {"terminated"}, "the lost ones are terminated", 120)
    stage.wait(lambda: not {*lost} & {*domains(host, "--all")}, "they have no domain", 60)
    stage.wait(lambda: not _files(host, lost), "they have no files", 60)


def _is_balanced(stage: Stage, group: Group) -> None:
    stage.show(f"the zones are balanced: {dict(group.zones())}", holds=_spread(stage, group) <= 1)


def _spread(stage: Stage, group: Group) -> int:
    zones = group.zones()
    return max(zones.values()) - min(zones[zone] for zone in stage.zones)


def _states(stage: Stage, ids: list[str]) -> list[str]:
    found = stage.ec2.describe_instances(InstanceIds=ids)["Reservations"]
    return [one["State"]["Name"] for reservation in found for one in reservation["Instances"]]


def _files(host: RigHost, ids: list[str]) -> list[str]:
    """What is named after instances below the agent's folder, but in the trash."""
    found = host.settings.agent_dir.rglob("*")
    wanted = (path for path in found if any(one in path.name for one in ids))
    return [str(path) for path in wanted if not {"trash", "made"} & {*path.parts}]
