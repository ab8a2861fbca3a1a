"""Kills of a cloud with simulated hosts: of all its controller's processes, of one of them, and of its hosts' processes."""

import random
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle

from tests.support.cloud import Cloud
from tests.support.waiting import wait_for


def kinds(cloud: Cloud, chance: random.Random, away: float) -> Iterator[Callable[[], str]]:
    """Give functions that kill something, start it again after at most so many seconds, and say what it was.

    All by turns, in an order that chance chooses: each is seen, however few kills there are. Hosts must keep what they
    have in files.
    """

    def moment() -> None:
        time.sleep(chance.uniform(0.0, away))  # how long it is away is a part of the fault

    def controller() -> str:
        cloud.controller.kill()
        moment()
        cloud.start_controller()
        return "controllers"

    def replaced(killed: int) -> None:
        wait_for(lambda: cloud.controller.another_serves(killed) and cloud.answers(), "another serves", 60)

    def serving() -> str:
        replaced(cloud.controller.kill_serving())
        return "serving processes"

    def parent() -> str:
        replaced(cloud.controller.kill_parent())
        return "parents"

    def agents(number: int) -> str:
        hosts = cloud.simulators[number]
        hosts.kill()
        moment()
        hosts.start()
        return "agents' processes"

    all_kinds: list[Callable[[], str]] = [
        controller,
        serving,
        parent,
        *(partial(agents, number) for number in range(len(cloud.simulators))),
    ]
    chance.shuffle(all_kinds)
    return cycle(all_kinds)
