"""A guest whose QEMU is killed for good, and one that ends itself, are replaced; one that is recovered is not."""

import contextlib

from stead_cli.errors import CliError
from tests.recovery.groups_on_rig.stage import Stage, kill_emulator

NAME = "losses"


def prove(stage: Stage) -> None:
    """Two guests, each lost in its way."""
    stage.template(NAME, "one", InstanceInitiatedShutdownBehavior="terminate")
    with stage.group(NAME, MinSize=2, MaxSize=2) as (group, watch):
        first, second = stage.serve(group, watch, 2)
        host = stage.host_of(second)
        kill_emulator(host, second)
        stage.wait(lambda: second not in watch.latest, f"{second}, killed once, does not answer", 30)
        stage.wait(lambda: second in watch.latest, f"{second} is recovered by its host, and answers", 120)
        stage.show("what was recovered is in the group", holds=set(group.states()) == {first, second})

        with contextlib.suppress(CliError):  # the connection ends with the guest
            stage.user.login(first).run("sudo poweroff; sleep 30", timeout=60)
        stage.wait(lambda: first not in group.states(), f"{first}, which ended itself, has left the group", 120)
        stage.serve(group, watch, 2)

        def is_killed() -> bool:
            kill_emulator(host, second)
            return second not in group.states()

        stage.wait(is_killed, f"{second}, killed whenever it runs, has left the group", 240)
        stage.serve(group, watch, 2)
        told = stage.tell(group)
        words = "in response to an EC2 health check indicating it has been terminated or stopped"
        stage.show("two ended by a health check", holds=sum(words in one["Cause"] for one in told) == 2)
        words = "an instance was launched in response to an unhealthy instance needing to be replaced"
        stage.show("two were launched for them", holds=sum(words in one["Cause"] for one in told) == 2)
        stage.show("all of it succeeded", holds={one["StatusCode"] for one in told} == {"Successful"})
        sizes = [len(look.states) for look in watch.looks]
        stage.note(f"at most {max(sizes)} in the group")
