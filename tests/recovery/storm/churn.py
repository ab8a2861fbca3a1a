"""People who ask for something all the time, and note what became of it: in the model, and in the history."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, EndpointConnectionError

from tests.recovery.storm.history import History
from tests.recovery.storm.model import Model
from tests.recovery.storm.requests import Choices, RandomRequests, Request

READ_SECONDS: Final = 15  # a controller that is frozen for long loses who waited
_BREATH: Final = 0.4  # between two requests of one person
_UNSENT: Final = (EndpointConnectionError, ConnectTimeoutError)


def outcome_of(error: Exception) -> str:
    """What an error means: `refused`, when nothing was done, or `lost`, when nobody can know. Raises what is neither."""
    if isinstance(error, ClientError):
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return "refused" if status < 500 or error.response["Error"]["Code"] == "RequestLimitExceeded" else "lost"
    if isinstance(error, BotoCoreError):
        return "refused" if isinstance(error, _UNSENT) else "lost"
    raise error


def fault_of(request: Request, error: Exception) -> str:
    """Say what is wrong with a refusal itself: of what is there nobody may say that it is not, and nothing may crash."""
    if not isinstance(error, ClientError):
        return ""
    code = error.response["Error"]["Code"]
    if code.endswith("NotFound") or code in ("InternalError", "InternalFailure"):
        return f"{request.operation} {dict(request.params)}: {error}"
    return ""


@dataclass
class Churn:
    """All that is asked; `persons` ask at once, between `begin` and `pause`."""

    client: Callable[[], Any]
    model: Model
    choices: Choices
    history: History
    chance: random.Random
    acknowledged: int = 0
    lost: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _paused: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _failures: list[Exception] = field(default_factory=list)
    _requests: RandomRequests = field(init=False)

    def __post_init__(self) -> None:
        self._requests = RandomRequests(self.choices, self.model, self.chance)

    def begin(self, persons: int) -> None:
        """Let them ask."""
        self._paused.clear()
        self._threads = [threading.Thread(target=self._live, name=f"person-{number}") for number in range(persons)]
        for thread in self._threads:
            thread.start()

    def pause(self) -> None:
        """Let them end what they are at; raises what ended one of them."""
        self._paused.set()
        for thread in self._threads:
            thread.join()
        if self._failures:
            raise self._failures[0]

    def _live(self) -> None:
        try:
            client = self.client()
            while not self._paused.wait(_BREATH):
                self.ask_once(client)
        except Exception as failure:  # raised by `pause`: a thread has nobody to raise it to
            self._failures.append(failure)

    def ask_once(self, client: Any) -> None:
        """Choose a request, send it, and note its outcome."""
        with self._lock:
            request = self._requests.next()
            if request is None:
                return
            self.model.begin(request.call)
        began = time.monotonic()
        try:
            answer = getattr(client, request.operation)(**request.params)
        except Exception as error:  # what is no answer of the cloud's is raised again by `outcome_of`
            with self._lock:
                self._note_error(request, error)
            shown = f"{outcome_of(error)}: {error}"
        else:
            with self._lock:
                self.model.acknowledge(request.call, request.learn(answer))
                self.acknowledged += 1
            shown = f"acknowledged {dict(request.learn(answer))}"
        names = ",".join(request.call.touches)
        self.history.note("call", f"{request.operation} {names} ({time.monotonic() - began:.1f} s) {shown}")

    def _note_error(self, request: Request, error: Exception) -> None:
        outcome = outcome_of(error)
        if wrong := fault_of(request, error):
            self.violations.append(wrong)
        if outcome == "refused":
            self.model.refuse(request.call)
            kind = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
            self.refused[kind] += 1
        else:
            self.model.doubt(request.call)
            self.lost += 1
