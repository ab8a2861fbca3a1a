"""A group as its owner sees it by the API, and its guests as their callers see them: asked once a second from outside."""

import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

from botocore.exceptions import BotoCoreError, ClientError

SECOND: Final = 1.0
_PATIENCE: Final = 4.0  # seconds for one answer of a guest
_AT_ONCE: Final = 48


@dataclass(frozen=True)
class Group:
    """An Auto Scaling group."""

    ec2: Any
    scaling: Any
    name: str

    def shown(self) -> Any:
        """The group as it is described; None when there is none."""
        found = self.scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[self.name])["AutoScalingGroups"]
        return found[0] if found else None

    def exists(self) -> bool:
        """Tell whether it is there."""
        return self.shown() is not None

    def states(self) -> dict[str, str]:
        """The lifecycle states of its instances."""
        shown = self.shown()
        return {} if shown is None else {one["InstanceId"]: one["LifecycleState"] for one in shown["Instances"]}

    def warm(self) -> dict[str, str]:
        """The lifecycle states of the instances of its warm pool."""
        found = self.scaling.describe_warm_pool(AutoScalingGroupName=self.name)["Instances"]
        return {one["InstanceId"]: one["LifecycleState"] for one in found}

    def want(self, desired: int) -> None:
        """Set its desired capacity."""
        self.scaling.set_desired_capacity(AutoScalingGroupName=self.name, DesiredCapacity=desired)

    def zones(self) -> Counter[str]:
        """How many of its instances in service are in each zone."""
        shown = self.shown()
        return Counter(one["AvailabilityZone"] for one in shown["Instances"] if one["LifecycleState"] == "InService")

    def activities(self) -> list[Any]:
        """What it did, the latest first."""
        pages = self.scaling.get_paginator("describe_scaling_activities").paginate(AutoScalingGroupName=self.name)
        return [one for page in pages for one in page["Activities"]]

    def addresses(self) -> dict[str, str]:
        """The public addresses of all instances that it has launched and that are not terminated."""
        wanted = [{"Name": "tag:aws:autoscaling:groupName", "Values": [self.name]}]
        found = self.ec2.describe_instances(Filters=wanted)["Reservations"]
        instances = [instance for reservation in found for instance in reservation["Instances"]]
        return {one["InstanceId"]: one["PublicIpAddress"] for one in instances if "PublicIpAddress" in one}


@dataclass
class Look:
    """What was seen in one second: states by the API, and what the pages said of those that answered in the end."""

    at: float
    desired: int
    states: dict[str, str]
    pages: dict[str, str] = field(default_factory=dict)
    asked: int = 0
    silent: int = 0

    @property
    def is_over(self) -> bool:
        """Tell whether all that were asked have answered or had their time."""
        return len(self.pages) + self.silent == self.asked


@dataclass
class Watch:
    """Looks once a second at a group, and says what has changed. A guest has some seconds to answer, as from a balancer."""

    group: Group
    say: Callable[[str], None]
    looks: list[Look] = field(default_factory=list)
    first: dict[str, float] = field(default_factory=dict)  # when each instance was asked that answered first
    _latest: dict[str, str] = field(default_factory=dict)
    _ended: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, name="watch")
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._ended.set()
        assert self._thread is not None
        self._thread.join()

    @property
    def latest(self) -> dict[str, str]:
        """What the pages said of those that answered when they were last asked."""
        return self._latest.copy()

    def since(self, began: float) -> list[Look]:
        """The looks since a moment that are over."""
        return [look for look in self.looks if look.at >= began and look.is_over]

    def least(self, began: float) -> int:
        """The lowest number of guests that answered in a look since a moment."""
        return min(len(look.pages) for look in self.since(began))

    def sizes(self, began: float) -> list[int]:
        """The desired capacities since a moment, each change once."""
        found: list[int] = []
        for look in self.since(began):
            if look.desired >= 0 and found[-1:] != [look.desired]:
                found.append(look.desired)
        return found

    def _run(self) -> None:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            last: tuple[object, ...] = ()
            while not self._ended.wait(SECOND):
                try:
                    shown, addresses = self.group.shown(), self.group.addresses()
                except (BotoCoreError, ClientError) as error:
                    self.say(f"the API does not answer: {error}")
                    continue
                states = {one["InstanceId"]: one["LifecycleState"] for one in shown["Instances"]} if shown else {}
                desired = shown["DesiredCapacity"] if shown else -1
                look = Look(time.monotonic(), desired, states, asked=len(addresses))
                self.looks.append(look)
                for one in {*self._latest} - {*addresses}:
                    self._latest.pop(one, None)
                for one, address in addresses.items():
                    pool.submit(self._ask, look, one, address)
                seen = (
                    desired,
                    sorted(Counter(states.values()).items()),
                    sorted(Counter(self.latest.values()).items()),
                )
                if seen != last:
                    self.say(f"desired {seen[0]}, {dict(seen[1]) or 'none'}, answering {dict(seen[2]) or 'none'}")
                last = seen

    def _ask(self, look: Look, instance_id: str, address: str) -> None:
        page = _page(address)
        with self._lock:
            if page:
                look.pages[instance_id] = self._latest[instance_id] = page
                self.first.setdefault(instance_id, look.at)
            else:
                look.silent += 1
                self._latest.pop(instance_id, None)


def _page(address: str) -> str:
    """Ask a guest for its page; empty when it does not answer."""
    connection = http.client.HTTPConnection(address, timeout=_PATIENCE)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        return answer.read(100).decode(errors="replace").strip() if answer.status == 200 else ""
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()
