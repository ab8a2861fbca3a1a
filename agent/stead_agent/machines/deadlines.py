"""When guests are to be off at the latest, whoever holds their locks then."""

from stead_agent.machines.boot_clock import boot_clock


class Deadlines:
    """One time for each machine that is to be off, by the boot clock; a later one never replaces an earlier one."""

    def __init__(self) -> None:
        self._due: dict[str, int] = {}

    def within(self, machine_id: str, seconds: float) -> None:
        """Note that a machine is to be off in so many seconds."""
        due = boot_clock() + int(1000 * seconds)
        self._due[machine_id] = min(due, self._due.get(machine_id, due))

    def is_over(self, machine_id: str) -> bool:
        """Tell whether a machine should be off by now."""
        return machine_id in self._due and boot_clock() >= self._due[machine_id]

    def forget(self, machine_id: str) -> None:
        """Forget a machine, which is started anew, or removed."""
        self._due.pop(machine_id, None)
