"""People who launch and terminate instances all the time, and go on when a call is lost: each knows what it has."""

import random
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

# What EC2 answers who wants more than there is, or comes at the wrong time.
REFUSALS: Final = {
    "InsufficientInstanceCapacity",
    "InsufficientVolumeCapacity",
    "IncorrectInstanceState",
    "IncorrectState",
    "Unsupported",
}
_BUSY: Final = "RequestLimitExceeded"  # nothing was changed: who asks again may have a turn
_PAUSE: Final = 0.05  # before a call is repeated whose answer was lost
_STORE: Final = "m5d.large"
_DEVICE: Final = "g4dn.xlarge"


def shapes(spread: str, partition: str) -> list[tuple[int, dict[str, Any]]]:
    """What is launched, with weights: plain, with more disks or interfaces, of scarce kinds, in placement groups."""
    disk = {"VolumeSize": 1, "DeleteOnTermination": True}
    return [
        (6, {"InstanceType": "stead.tiny"}),
        (2, {"InstanceType": "stead.tiny", "MinCount": 1, "MaxCount": 3}),
        (2, {"InstanceType": "t3.nano", "CreditSpecification": {"CpuCredits": "standard"}}),
        (2, {"InstanceType": "stead.mini", "BlockDeviceMappings": [{"DeviceName": "/dev/sdf", "Ebs": disk}]}),
        (
            2,
            {
                "InstanceType": "stead.mini",
                "NetworkInterfaces": [
                    {"DeviceIndex": 0, "SecondaryPrivateIpAddressCount": 1},
                    {"DeviceIndex": 1, "DeleteOnTermination": True},
                ],
            },
        ),
        (2, {"InstanceType": _STORE}),
        (2, {"InstanceType": _DEVICE}),
        (2, {"InstanceType": "stead.tiny", "Placement": {"GroupName": spread}}),
        (2, {"InstanceType": "stead.tiny", "Placement": {"GroupName": partition}}),
    ]


@dataclass
class Lives:
    """How many instances have been launched by all, how many are to be, and whether all pause now."""

    wanted: int = 0
    launched: int = 0
    kinds: Counter[str] = field(default_factory=Counter)  # how many of each instance type
    lost: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    failures: list[Exception] = field(default_factory=list)
    abandoned: bool = False  # nobody will start what was killed
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_over(self) -> bool:
        """Whether as many as wanted were launched, or something went wrong."""
        return self.launched >= self.wanted or bool(self.failures) or self.abandoned


@dataclass
class User:
    """One of several; `name` is in its client tokens, `most` is how many instances it has at once.

    It has a client for each controller, and goes to the next one when an answer was lost.
    """

    name: str
    clients: list[Any]
    image_id: str
    choices: list[tuple[int, dict[str, Any]]]
    most: int
    chance: random.Random
    lives: Lives
    living: set[str] = field(default_factory=set)
    _calls: int = 0
    _lost: int = 0

    def live(self) -> None:
        """Launch, stop, start and terminate until enough were launched."""
        try:
            while not self.lives.is_over:
                self._step()
        except Exception as failure:  # a thread has nobody to raise it to: who waits for all raises it
            self.lives.failures.append(failure)

    def end_all(self) -> None:
        """Terminate all that it has."""
        if self.living:
            self._end(self.living)

    def _step(self) -> None:
        if len(self.living) < self.most and self.chance.random() < 0.6:
            self._launch()
        elif self.living and self.chance.random() < 0.1:
            self._stop_or_start(self.chance.choice(sorted(self.living)))
        elif self.living:
            count = self.chance.randint(1, min(4, len(self.living)))
            self._end(set(self.chance.sample(sorted(self.living), count)))

    def _launch(self) -> None:
        self._calls += 1
        weights, params = zip(*self.choices, strict=True)
        [chosen] = self.chance.choices(params, weights)
        asked = {"MinCount": 1, "MaxCount": 1, "ImageId": self.image_id, "ClientToken": f"{self.name}-{self._calls}"}
        answer = self._ask("run_instances", **asked | chosen)
        if answer is not None:
            made = {each["InstanceId"] for each in answer["Instances"]}
            self.living |= made
            with self.lives.lock:
                self.lives.launched += len(made)
                self.lives.kinds[chosen["InstanceType"]] += len(made)

    def _stop_or_start(self, instance_id: str) -> None:
        call = self.chance.choice(("stop_instances", "start_instances"))
        self._ask(call, InstanceIds=[instance_id])

    def _end(self, instance_ids: set[str]) -> None:
        """Terminate some; of one that is forgotten by now the call is done, since nobody else ends instances."""
        self._ask("terminate_instances", gone_is_done=True, InstanceIds=sorted(instance_ids))
        self.living -= instance_ids

    def _ask(self, call: str, *, gone_is_done: bool = False, **params: Any) -> dict[str, Any] | None:
        """Call until there is an answer; None for one of the refusals that are expected, others are raised."""
        for was_lost in _first_and_repeated():
            try:
                client = self.clients[self._lost % len(self.clients)]
                answer: dict[str, Any] = getattr(client, call)(**params)
            except BotoCoreError:
                if self.lives.abandoned:
                    raise
                self._lost += 1
                with self.lives.lock:
                    self.lives.lost += 1
                threading.Event().wait(_PAUSE)
            except ClientError as refusal:
                code = str(refusal.response["Error"]["Code"])
                if code == _BUSY and not self.lives.abandoned:
                    with self.lives.lock:
                        self.lives.refused[code] += 1
                    threading.Event().wait(_PAUSE)
                    continue
                if refusal.response["ResponseMetadata"]["HTTPStatusCode"] >= 500 and code not in REFUSALS:
                    raise
                if gone_is_done and was_lost and code == "InvalidInstanceID.NotFound":
                    return None
                if code not in REFUSALS:
                    raise
                with self.lives.lock:
                    self.lives.refused[code] += 1
                return None
            else:
                return answer
        return None


def _first_and_repeated() -> Iterator[bool]:
    yield False
    while True:
        yield True
