"""The CPU credits of simulated guests, which are idle: what is given at a start stays, and time earns nothing."""

from collections.abc import Callable
from dataclasses import replace

from stead_agent.credits.interface import Balance, Terms
from stead_agent.simulated.world import CreditAccount, World


class SimulatedCredits:
    """The accounts of a world; a test sets what a machine has spent."""

    def __init__(self, world: World) -> None:
        """Count those that an earlier process of the world did."""
        self._world = world
        self._callbacks: list[Callable[[str], None]] = []

    def watch(self, machine_id: str, terms: Terms, start_count: int) -> Balance:
        """Remember the terms; a start gives its credits."""
        with self._world.lock:
            known = self._world.objects.credits.get(machine_id)
            if known is not None and (known.terms, known.start_count) == (terms, start_count):
                return known.balance
            balance = known.balance if known is not None else Balance(terms.saved)
            if known is None or known.start_count != start_count:
                given = 0 if terms.unlimited else terms.at_start
                balance = Balance(balance.credits + given, 0, balance.spent, balance.charged)
            return self._put(machine_id, CreditAccount(terms, start_count, balance))

    def balance(self, machine_id: str) -> Balance | None:
        """Return what a running machine has."""
        with self._world.lock:
            known = self._world.objects.credits.get(machine_id)
            return known.balance if known is not None and known.start_count else None

    def rest(self, machine_id: str, terms: Terms) -> Balance:
        """Remember that it is off."""
        with self._world.lock:
            known = self._world.objects.credits.get(machine_id)
            if known is None:
                return Balance()
            if (known.terms, known.start_count) == (terms, 0):
                return known.balance
            saved = known.balance.credits if terms.saved_seconds else 0
            owed = known.balance
            balance = Balance(saved, 0, owed.spent, owed.charged + owed.surplus)
            return self._put(machine_id, CreditAccount(terms, 0, balance))

    def forget(self, machine_id: str) -> Balance:
        """Forget it; what it owes is charged."""
        with self._world.lock:
            known = self._world.objects.credits.get(machine_id)
            if known is None:
                return Balance()
            with self._world.call("credits.forget", machine_id) as objects:
                del objects.credits[machine_id]
            return replace(known.balance, surplus=0, charged=known.balance.charged + known.balance.surplus)

    def present(self) -> frozenset[str]:
        """List the machines."""
        with self._world.lock:
            return frozenset(self._world.objects.credits)

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """Call back on changes."""
        self._callbacks.append(callback)

    def close(self) -> None:
        """Stop calling back."""
        self._callbacks.clear()

    def set_balance(self, machine_id: str, balance: Balance) -> None:
        """Let a machine have another balance."""
        with self._world.lock:
            known = self._world.objects.credits[machine_id]
            self._put(machine_id, CreditAccount(known.terms, known.start_count, balance))
        for callback in self._callbacks:
            callback(machine_id)

    def _put(self, machine_id: str, account: CreditAccount) -> Balance:
        with self._world.call("credits.watch", machine_id) as objects:
            objects.credits[machine_id] = account
        return account.balance
