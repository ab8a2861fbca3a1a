"""What the storm asks: of free resources alone, each kind often enough; and what becomes of an answer."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from tests.recovery.storm.churn import Churn, fault_of, outcome_of
from tests.recovery.storm.history import History
from tests.recovery.storm.model import Model
from tests.recovery.storm.requests import MOST, MOST_RUNNING, WEIGHTS, Choices, RandomRequests, Request
from tests.support.waiting import wait_for

CHOICES = Choices("ami-1", "us-east-1a", "sg-0", "vpc-1", "t2.nano")
ANSWER: dict[str, Any] = {
    **{key: f"{key}-1" for key in ("VolumeId", "SnapshotId", "ImageId", "AllocationId", "AssociationId", "GroupId")},
    "PublicIp": "198.51.100.7",
    "Instances": [{"InstanceId": "i-1", "PrivateIpAddress": "172.31.0.4"}],
}
RELEASE = Request("release_address", {}, {})


def error(code: str, status: int) -> ClientError:
    answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "ReleaseAddress")


def test_requests_are_of_all_kinds_and_within_the_limits() -> None:
    model = Model()
    requests = RandomRequests(CHOICES, model, random.Random(7))
    asked: Counter[str] = Counter()
    for _ in range(3000):
        request = requests.next()
        assert request is not None
        asked[request.operation] += 1
        model.begin(request.call)  # fails for what is not free
        model.acknowledge(request.call, request.learn(ANSWER))
        kinds = Counter(name.partition("-")[0] for name in model.resources)
        assert all(kinds[kind] <= most for kind, most in MOST.items())
        assert sum(known.get("state") == "running" for known in model.resources.values()) <= MOST_RUNNING
    assert len(asked) == 24
    assert asked.keys() >= WEIGHTS.keys()


def test_requests_leave_alone_what_is_in_doubt() -> None:
    model = Model({"keeper-1": {"id": "i-0", "state": "running"}, "ledger-1": {"id": "vol-0", "attached": "keeper-1"}})
    requests = RandomRequests(CHOICES, model, random.Random(7))
    while (request := requests.next()) is not None:
        assert not request.call.touches & {"keeper-1", "ledger-1"}
        model.begin(request.call)
        model.doubt(request.call)
    touched = [name for call in model.in_doubt for name in call.touches]
    assert len(touched) == len(set(touched)) > 15


@pytest.mark.parametrize(
    ("raised", "outcome"),
    [
        (error("IncorrectState", 400), "refused"),
        (error("RequestLimitExceeded", 503), "refused"),
        (error("ServiceUnavailable", 503), "lost"),
        (error("InternalError", 500), "lost"),
        (EndpointConnectionError(endpoint_url="https://x"), "refused"),
        (ReadTimeoutError(endpoint_url="https://x"), "lost"),
    ],
)
def test_an_error_says_whether_something_may_have_been_done(raised: Exception, outcome: str) -> None:
    assert outcome_of(raised) == outcome


def test_a_fault_of_the_storm_itself_is_raised() -> None:
    with pytest.raises(KeyError):
        outcome_of(KeyError("a mistake"))


def test_what_is_there_must_be_found_and_nothing_may_crash() -> None:
    assert fault_of(RELEASE, error("InvalidAllocationID.NotFound", 400))
    assert fault_of(RELEASE, error("InternalError", 500))
    assert not fault_of(RELEASE, error("IncorrectState", 400))
    assert not fault_of(RELEASE, error("ServiceUnavailable", 503))
    assert not fault_of(RELEASE, ReadTimeoutError(endpoint_url="https://x"))


class Answers:
    """A client whose calls all end in the same way."""

    def __init__(self, ends: Exception | None) -> None:
        self._ends = ends

    def __getattr__(self, _operation: str) -> Any:
        def call(**_params: Any) -> dict[str, Any]:
            if self._ends is not None:
                raise self._ends
            return ANSWER

        return call


def asking(folder: Path, ends: Exception | None) -> Churn:
    """A churn over a cloud whose calls all end in the same way."""
    return Churn(lambda: Answers(ends), Model(), CHOICES, History(folder / "history"), random.Random(7))


def test_an_outcome_is_noted_in_the_model_and_in_the_history(tmp_path: Path) -> None:
    churn = asking(tmp_path, None)
    churn.ask_once(Answers(None))
    churn.ask_once(Answers(error("IncorrectState", 400)))
    churn.ask_once(Answers(EndpointConnectionError(endpoint_url="https://x")))
    churn.ask_once(Answers(error("InternalError", 500)))
    assert (churn.acknowledged, churn.lost) == (1, 1)
    assert dict(churn.refused) == {"IncorrectState": 1, "EndpointConnectionError": 1}
    assert churn.model.under_way == []
    assert (len(churn.model.resources), len(churn.model.in_doubt), len(churn.violations)) == (1, 1, 1)
    words = [line.split(")", 1)[1].split()[0] for line in churn.history.lines("call")]
    assert words == ["acknowledged", "refused:", "refused:", "lost:"]
    assert churn.history.lines("fault") == []


def test_persons_ask_until_they_are_to_pause(tmp_path: Path) -> None:
    churn = asking(tmp_path, None)
    churn.begin(2)
    wait_for(lambda: churn.acknowledged >= 3, "somebody has asked again")
    churn.pause()
    assert len(churn.history.lines("call")) == churn.acknowledged


def test_what_ends_a_person_is_raised(tmp_path: Path) -> None:
    churn = asking(tmp_path, KeyError("a mistake"))
    churn.begin(1)
    wait_for(lambda: churn._failures, "it has ended")
    with pytest.raises(KeyError, match="a mistake"):
        churn.pause()


def test_nothing_is_asked_where_all_is_in_doubt(tmp_path: Path) -> None:
    churn = asking(tmp_path, None)
    while churn._requests.next() is not None:
        churn.ask_once(Answers(error("InternalError", 500)))
    before = churn.lost
    churn.ask_once(Answers(None))
    assert (churn.acknowledged, churn.lost) == (0, before)


def test_what_is_noted_is_one_line_whatever_it_says(tmp_path: Path) -> None:
    history = History(tmp_path / "history")
    history.note("fault", "one\n\ntwo of host-1\n")
    assert [line.split(maxsplit=1)[1] for line in history.lines("fault")] == ["fault  one two of host-1"]
