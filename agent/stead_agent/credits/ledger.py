"""Compute what a burstable machine has and owes as time passes, and how much CPU time it may have: pure.

All is counted in whole units of a third of a nanosecond of a vCPU: so both what is earned in a millisecond (EC2's
resolution) and what a nanosecond of CPU time costs are whole numbers, and nothing is ever rounded away.
"""

from dataclasses import dataclass, replace
from typing import Final

from stead_agent.credits.interface import Balance, Terms

PER_NANOSECOND: Final = 3
_NANOSECONDS: Final = 60_000_000_000  # of a vCPU, for one credit
CREDIT: Final = PER_NANOSECOND * _NANOSECONDS
THOUSANDTH: Final = CREDIT // 1000
_MILLISECONDS_PER_HOUR: Final = 3_600_000
EARNED_PER_MILLISECOND: Final = THOUSANDTH // _MILLISECONDS_PER_HOUR
"""By a machine that earns a thousandth of a credit per hour."""
EASE_MINUTES: Final = 5
"""A machine may spend so much above its earnings that its balance would last for this long.

So its speed falls gradually as the balance does, and is near its baseline after three times as long: EC2 speaks of 15
minutes. A balance is never overspent, and one whose vCPUs are not all busy still gets all that it earns.
"""
_FULL: Final = 1000  # thousandths of a vCPU


@dataclass(frozen=True, slots=True)
class Ledger:
    """What a machine has and owes, in units.

    `earned` is below 0 when a machine in the mode `standard` spent more than it had, before its limit was in force. It
    is then paid first. `gained` is all that was ever credited and not lost, so that
    `gained + charged - spent == earned + at_start - surplus`.
    """

    earned: int = 0
    at_start: int = 0  # of those given at the start
    surplus: int = 0  # owed in the mode `unlimited`
    spent: int = 0
    charged: int = 0  # surplus ones that were owed too long, and are not any more
    gained: int = 0

    @property
    def balance(self) -> int:
        """What can be spent, or is missing."""
        return self.earned + self.at_start

    @property
    def shown(self) -> Balance:
        """What is reported, rounded down."""
        return Balance(
            credits=max(0, self.balance) // THOUSANDTH,
            surplus=self.surplus // THOUSANDTH,
            spent=self.spent // THOUSANDTH,
            charged=self.charged // THOUSANDTH,
        )


def after(ledger: Ledger, terms: Terms, milliseconds: int, nanoseconds: int) -> Ledger:
    """Return the ledger of a running machine after some time, in which its vCPUs together used `nanoseconds`.

    Credits given at the start are spent first, then what it earns meanwhile, then what it has saved, then surplus ones.
    """
    income = terms.per_hour * EARNED_PER_MILLISECOND * milliseconds
    spent = PER_NANOSECOND * nanoseconds
    first = min(ledger.at_start, spent)
    change = income - (spent - first)
    repaid = min(ledger.surplus, max(0, change))
    earned = ledger.earned + change - repaid
    lost = max(0, earned - _most(terms))
    changed = replace(
        ledger,
        earned=earned - lost,
        at_start=ledger.at_start - first,
        surplus=ledger.surplus - repaid,
        spent=ledger.spent + spent,
        gained=ledger.gained + income - lost,
    )
    return _owing(changed, terms) if terms.unlimited else changed


def under(ledger: Ledger, terms: Terms) -> Ledger:
    """Return the ledger when the terms are these from now on: another mode, or another type.

    Unlimited: it has no credits of its start, and owes what it overspent. Standard: what it owed is charged. More than
    it may save now is lost.
    """
    ledger = _losing(ledger, earned=max(0, ledger.earned - _most(terms)))
    if terms.unlimited:
        return _owing(_losing(ledger, at_start=ledger.at_start), terms)
    return _charged(ledger)


def started(ledger: Ledger, terms: Terms) -> Ledger:
    """Return the ledger at a start: in the mode `standard` with the credits that are given then, instead of older."""
    ledger = under(ledger, terms)
    if terms.unlimited:
        return ledger
    ledger = _losing(ledger, at_start=ledger.at_start)
    given = terms.at_start * THOUSANDTH
    return replace(ledger, at_start=given, gained=ledger.gained + given)


def stopped(ledger: Ledger) -> Ledger:
    """Return the ledger at a stop: surplus credits are charged, those of the start are lost."""
    return _charged(_losing(ledger, at_start=ledger.at_start))


def expired(ledger: Ledger) -> Ledger:
    """Return the ledger of a machine that was off for longer than its credits are saved; a debt stays."""
    return _losing(ledger, earned=max(0, ledger.earned))


def allowance(ledger: Ledger, terms: Terms) -> int | None:
    """Return how much of each vCPU a machine may use, in thousandths of the vCPU; None when it is not limited.

    With nothing left that is the baseline; after overspending it is less, but never less than half of that.
    """
    if terms.unlimited:
        return None
    baseline = _FULL * terms.per_hour // (60 * 1000)
    above = _FULL * ledger.balance // (EASE_MINUTES * CREDIT)
    share = -(-max(baseline + above, baseline // 2) // terms.vcpus)
    return max(1, share) if share < _FULL else None


def _most(terms: Terms) -> int:
    return terms.most * THOUSANDTH


def _owing(ledger: Ledger, terms: Terms) -> Ledger:
    """Turn what was overspent into surplus credits, and charge those beyond what may be owed."""
    missing = max(0, -ledger.earned)
    owed = ledger.surplus + missing
    charged = max(0, owed - _most(terms))
    return replace(ledger, earned=ledger.earned + missing, surplus=owed - charged, charged=ledger.charged + charged)


def _charged(ledger: Ledger) -> Ledger:
    """Charge all that is owed."""
    return replace(ledger, surplus=0, charged=ledger.charged + ledger.surplus)


def _losing(ledger: Ledger, *, earned: int = 0, at_start: int = 0) -> Ledger:
    return replace(
        ledger,
        earned=ledger.earned - earned,
        at_start=ledger.at_start - at_start,
        gained=ledger.gained - earned - at_start,
    )
