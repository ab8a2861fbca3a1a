"""Whether simulated guests answer: at once, after a while, or as a test lets them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from stead_agent.reachability.interface import Answers, Finding, Nic
from stead_agent.simulated.clock import Clock
from stead_agent.simulated.machines import Durations

_EPOCH: Final = 1_800_000_000.0  # the Unix time at which simulated clocks begin


@dataclass(slots=True)
class _Guest:
    nic: Nic
    start_count: int
    finding: Finding


class SimulatedReachability:
    """The guests that are checked, and the results; lives as long as the agent's process."""

    def __init__(self, clock: Clock, durations: Durations) -> None:
        """Check no guest yet."""
        self._clock = clock
        self._durations = durations
        self._guests: dict[str, _Guest] = {}
        self._callbacks: list[Callable[[str], None]] = []

    def watch(self, machine_id: str, nic: Nic, start_count: int, *, fresh: bool) -> Finding:
        """Return whether a guest answers; a fresh one does after the time in `pace`."""
        guest = self._guests.get(machine_id)
        if guest is None or guest.start_count != start_count:
            waits = fresh and self._durations.answer > 0
            guest = _Guest(nic, start_count, Finding(Answers.STARTING if waits else Answers.YES))
            self._guests[machine_id] = guest
            if waits:
                self._clock.call_at(
                    self._clock.now() + self._durations.answer, lambda: self._answer(machine_id, start_count)
                )
        guest.nic = nic
        return guest.finding

    def forget(self, machine_id: str) -> None:
        """Forget a guest."""
        self._guests.pop(machine_id, None)

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """Call back on changes."""
        self._callbacks.append(callback)

    def close(self) -> None:
        """Stop calling back."""
        self._callbacks.clear()

    def asked(self) -> set[str]:
        """List the guests that are checked."""
        return set(self._guests)

    def silence(self, machine_id: str, *, silent: bool) -> None:
        """Set whether a guest answers; the change is detected at once."""
        since = _EPOCH + self._clock.now()
        self._find(machine_id, Finding(Answers.NO, since) if silent else Finding(Answers.YES))

    def _answer(self, machine_id: str, start_count: int) -> None:
        guest = self._guests.get(machine_id)
        if guest is not None and guest.start_count == start_count:
            self._find(machine_id, Finding(Answers.YES))

    def _find(self, machine_id: str, finding: Finding) -> None:
        self._guests[machine_id].finding = finding
        for callback in self._callbacks:
            callback(machine_id)
