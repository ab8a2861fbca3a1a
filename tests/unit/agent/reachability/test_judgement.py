"""What a guest's answers, and their absence, say of it."""

import pytest

from stead_agent.reachability.interface import Answers, Nic
from stead_agent.reachability.judgement import BOOT_SECONDS, FEWEST_QUESTIONS, SILENT_SECONDS, Watched

NIC = Nic("vpc-1", "sub1", "02:00:00:00:00:01", "10.0.0.1", "06:00:00:00:00:01", "10.0.0.4")
BEGAN, UNIX = 1_000.0, 1_800_000_000.0


def watched(answers: Answers = Answers.STARTING, questions: int = 0) -> Watched:
    made = Watched(NIC, 1, BEGAN, answers)
    for _ in range(questions):
        made.asked()
    return made


@pytest.mark.parametrize(
    ("answers", "patience"),
    [(Answers.STARTING, BOOT_SECONDS), (Answers.UNKNOWN, BOOT_SECONDS), (Answers.YES, SILENT_SECONDS)],
)
def test_a_long_silence_is_a_no(answers: Answers, patience: float) -> None:
    guest = watched(answers, FEWEST_QUESTIONS)
    assert not guest.judge(BEGAN + patience - 1, UNIX)
    assert guest.answers is answers
    assert guest.judge(BEGAN + patience, UNIX)
    assert (guest.answers, guest.since) == (Answers.NO, UNIX - patience)
    assert not guest.judge(BEGAN + 2 * patience, UNIX + patience)  # no news
    assert guest.since == UNIX - patience


def test_who_was_not_asked_is_not_judged() -> None:
    """The agent stood still for an hour, as with a suspended machine."""
    guest = watched(Answers.YES, FEWEST_QUESTIONS - 1)
    assert not guest.judge(BEGAN + 3600, UNIX)
    guest.asked()
    assert guest.judge(BEGAN + 3600, UNIX)


def test_an_answer_ends_a_silence() -> None:
    guest = watched(questions=FEWEST_QUESTIONS)
    assert guest.answered(BEGAN + 5)
    assert guest.answers is Answers.YES
    assert not guest.answered(BEGAN + 6)  # no news
    for _ in range(FEWEST_QUESTIONS):
        guest.asked()
    assert not guest.judge(BEGAN + 6 + SILENT_SECONDS - 1, UNIX)
    assert guest.judge(BEGAN + 6 + SILENT_SECONDS, UNIX)
    assert guest.answered(BEGAN + 200)
    assert (guest.answers, guest.since, guest.unanswered) == (Answers.YES, 0.0, 0)


def test_who_is_well_is_asked_seldom() -> None:
    guest = watched()
    assert guest.pause(BEGAN + 1) == 1
    assert guest.pause(BEGAN + 61) == 5
    guest.asked()
    guest.answered(BEGAN + 2)
    guest.asked()
    assert guest.pause(BEGAN + 3) == 15  # the answer may be on its way
    guest.asked()
    assert guest.pause(BEGAN + 100) == 5
