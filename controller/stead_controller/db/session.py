"""Transactions: each mutation is one, retried where the database asks for it."""

from dataclasses import dataclass, field

from sqlalchemy.orm import Session


@dataclass(slots=True)
class Transaction:
    """One open transaction, and whom to wake once it is committed.

    `wake_hosts` are ids of hosts whose desired state changed; `events` are resource ids whose watchers must be told.
    """

    session: Session
    wake_hosts: set[str] = field(default_factory=set)
    events: set[str] = field(default_factory=set)
