"""The interface of CPU credits: burstable machines earn them, spend them, and are slowed down without them.

The rules are EC2's:
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/burstable-credits-baseline-concepts.html
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Terms:
    """What a machine's type and mode promise; credits are in thousandths, a credit is one vCPU for a minute."""

    vcpus: int
    per_hour: int  # earned while it runs
    most: int  # of the earned ones that it saves; and of surplus ones that it owes before they are charged
    unlimited: bool = False  # without credits it runs on, and owes surplus ones; if not, it is slowed down
    at_start: int = 0  # given at each start in the mode `standard`, on top of `most`, and spent first
    saved_seconds: int = 0  # how long the credits of a stopped machine are saved
    saved: int = 0  # of a machine that is new here: what it had saved on another host


@dataclass(frozen=True, slots=True)
class Balance:
    """What a machine has and owes, in thousandths of a credit; `spent` and `charged` are sums since it was made.

    Its account here was made at `made`, in Unix seconds; 0 for one of an earlier release.
    """

    credits: int = 0
    surplus: int = 0
    spent: int = 0
    charged: int = 0
    made: int = field(default=0, compare=False)


class Credits(Protocol):
    """Counts the credits of this host's burstable machines. All methods may be repeated and called from any thread.

    What a machine has survives the agent, libvirt and the host's reboot.
    """

    def watch(self, machine_id: str, terms: Terms, start_count: int) -> Balance:
        """Continue to count a running machine, or begin when it is new or was started again; return what it has.

        Terms may have changed. The balance is renewed every few minutes, and when the machine starts or its terms
        change. What a machine used before it was first watched is not counted.
        """

    def balance(self, machine_id: str) -> Balance | None:
        """Return what a running machine has, as last counted; None if it is not counted."""

    def rest(self, machine_id: str, terms: Terms) -> Balance:
        """Stop counting, since the machine is off; return what it has saved."""

    def forget(self, machine_id: str) -> Balance:
        """Remove all that is known of a machine that was removed, or is not burstable any more, and its limit.

        Returns its last balance, of which nothing is owed any more: surplus credits are charged.
        """

    def present(self) -> frozenset[str]:
        """List the machines of which there is something to remove."""

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """Have `callback(machine_id)` called, from a thread of ours, whenever a balance was renewed."""

    def close(self) -> None:
        """Save all and end the thread; limits stay in force."""
