"""Rows become what a host must make true: written to the outbox in the transaction that changes the rows.

Callers change rows first, flush, then call one of the functions here, which compute the host's picture of the touched
things from the rows and write only what differs from the outbox.
"""

from stead_controller.db.session import Transaction


def refresh_instance(tx: Transaction, instance_id: str) -> None:
    """Tell the instance's host how the instance, its volumes and its interfaces must be now."""
    raise NotImplementedError


def refresh_group(tx: Transaction, group_id: str) -> None:
    """Tell every host that enforces this security group its rules and members as they are now."""
    raise NotImplementedError
