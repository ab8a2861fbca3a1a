"""Compute from the probes of one guest and its answers what is known of it, and when to probe it next: pure.

All times are seconds of a monotonic clock.
"""

from dataclasses import dataclass, field
from typing import Final

from stead_agent.reachability.interface import Answers, Nic

BOOT_SECONDS: Final = 300.0  # the longest from a start to the first answer; also when the agent began to probe later
SILENT_SECONDS: Final = 60.0  # a guest that restarts, or is busy, is not gone
FEWEST_QUESTIONS: Final = 3  # unanswered ones; fewer, because this process stood still, prove nothing
_OFTEN: Final = 1.0
_OFTEN_SECONDS: Final = 60.0  # of a guest's first minute
_SELDOM: Final = 5.0
_WELL: Final = 15.0


@dataclass(slots=True)
class Watched:
    """A guest that is probed."""

    nic: Nic
    start_count: int
    began: float
    answers: Answers
    silent_since: float = field(init=False)  # its last answer, or when probing began
    unanswered: int = 0  # probes since then
    since: float = 0.0  # of NO: when the silence began, in Unix seconds

    def __post_init__(self) -> None:
        """Begin."""
        self.silent_since = self.began

    def asked(self) -> None:
        """Record that a probe was sent, or could not be."""
        self.unanswered += 1

    def answered(self, now: float) -> bool:
        """Record an answer; return whether that changes what is known."""
        was, self.answers, self.since = self.answers, Answers.YES, 0.0
        self.silent_since = now
        self.unanswered = 0
        return was is not Answers.YES

    def judge(self, now: float, unix_time: float) -> bool:
        """Judge a silence, at one moment by both clocks; return whether that changes what is known."""
        patience = SILENT_SECONDS if self.answers is Answers.YES else BOOT_SECONDS
        is_over = now - self.silent_since >= patience and self.unanswered >= FEWEST_QUESTIONS
        if not is_over or self.answers is Answers.NO:
            return False
        self.answers, self.since = Answers.NO, unix_time - (now - self.silent_since)
        return True

    def pause(self, now: float) -> float:
        """Return the seconds until the next probe."""
        if self.answers is Answers.YES and self.unanswered <= 1:
            return _WELL
        return _OFTEN if now - self.began < _OFTEN_SECONDS else _SELDOM
