"""A trial of an image that fails leaves no guest behind, and says what the guest was given."""

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Self

import pytest

from images import try_image
from images.trial.machine import TrialFailed
from images.try_image import KINDS, Report, Trial, what_it_was_given


class Guest:
    """A machine that sends its banner, or none."""

    answers = True

    def __init__(self, *_: object) -> None:
        self.runs = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.runs = False

    def wait_for_ssh(self, _: float) -> float:
        started.append(self)
        if not self.answers:
            raise TrialFailed("SSH banner")
        return 1.5


started: list[Guest] = []


@pytest.fixture
def trial(tmp_path, monkeypatch):
    started.clear()
    monkeypatch.setattr(try_image, "Machine", Guest)
    metadata = SimpleNamespace(requests=[f"GET /{number}" for number in range(7)])
    return Trial("micro", KINDS["micro"], None, tmp_path, tmp_path / "disk", metadata, Report(as_json=True))


def test_a_guest_that_answers_runs_on(trial):
    assert trial.start("boot").runs
    assert trial.report.times == {"boot: SSH banner": 1.5}


def test_one_that_does_not_is_ended(trial, monkeypatch):
    monkeypatch.setattr(Guest, "answers", False)
    with pytest.raises(TrialFailed, match="SSH banner"):
        trial.start("boot")
    assert [guest.runs for guest in started] == [False]


@pytest.mark.parametrize(("program", "state"), [(("sleep", "60"), "runs"), (("false",), "ended with status 1")])
def test_what_the_guest_was_given_is_told(trial, program, state):
    (Path(trial.folder) / "dnsmasq.log").write_text("DHCPACK")
    server = subprocess.Popen(program)
    if state != "runs":
        server.wait()
    said = what_it_was_given(trial, server)
    server.kill()
    server.wait()
    assert said == f"metadata: ['GET /2', 'GET /3', 'GET /4', 'GET /5', 'GET /6']\nDHCP's server {state}:\nDHCPACK"
