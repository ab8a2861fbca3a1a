"""Block public access: whether an account may share its images and snapshots publicly.

Nothing is blocked until the account says so. See
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_EnableImageBlockPublicAccess.html and
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_EnableSnapshotBlockPublicAccess.html.
"""

from typing import Final

from sqlalchemy import update

from stead_controller.db.tables import PublicSharing, Snapshot
from stead_controller.errors import Unsupported
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction

UNBLOCKED: Final = "unblocked"
BLOCK_NEW: Final = "block-new-sharing"
BLOCK_ALL: Final = "block-all-sharing"


def of_images(tx: Transaction, account_id: str) -> str:
    """Tell what an account blocks of its images: `unblocked` or `block-new-sharing`."""
    found = tx.session.get(PublicSharing, account_id)
    return found.images if found is not None else UNBLOCKED


def of_snapshots(tx: Transaction, account_id: str) -> str:
    """Tell what an account blocks of its snapshots: `unblocked`, `block-new-sharing` or `block-all-sharing`."""
    found = tx.session.get(PublicSharing, account_id)
    return found.snapshots if found is not None else UNBLOCKED


def set_of_images(tx: Transaction, caller: Caller, state: str) -> str:
    """Set what the caller's account blocks of its images; those that are public stay so."""
    _settings(tx, caller.account_id).images = state
    return state


def set_of_snapshots(tx: Transaction, caller: Caller, state: str) -> str:
    """Set what the caller's account blocks of its snapshots.

    While all sharing is blocked, public snapshots are not accessible to others; their attributes stay public, and they
    are accessible again after the next change of the setting.
    """
    settings = _settings(tx, caller.account_id)
    settings.snapshots = state
    mine = update(Snapshot).where(Snapshot.account_id == caller.account_id)
    if state == BLOCK_ALL:
        tx.session.execute(mine.where(Snapshot.public.is_(True)).values(public=False, public_blocked=True))
    else:
        tx.session.execute(mine.where(Snapshot.public_blocked.is_(True)).values(public=True, public_blocked=False))
    return state


def check_image(tx: Transaction, account_id: str) -> None:
    """Raise Unsupported where an account's images must not be public."""
    if of_images(tx, account_id) != UNBLOCKED:
        raise Unsupported(
            "Public sharing of images is blocked in this account; DisableImageBlockPublicAccess allows it.",
            code="OperationNotPermitted",
        )


def check_snapshot(tx: Transaction, account_id: str) -> None:
    """Raise Unsupported where an account's snapshots must not be public."""
    if of_snapshots(tx, account_id) != UNBLOCKED:
        raise Unsupported(
            "Public sharing of snapshots is blocked in this account; DisableSnapshotBlockPublicAccess allows it.",
            code="OperationNotPermitted",
        )


def _settings(tx: Transaction, account_id: str) -> PublicSharing:
    found = tx.session.get(PublicSharing, account_id)
    if found is None:
        found = PublicSharing(account_id=account_id, images=UNBLOCKED, snapshots=UNBLOCKED)
        tx.session.add(found)
    return found
