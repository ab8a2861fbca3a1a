"""Buckets: a globally unique name, an owner, a policy, and the public access block.

A bucket is created here first, then in the object store's server, and removed there first: an interruption leaves at
worst a row of an empty bucket, which its owner can create or remove again.
"""

import secrets
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import func, select

from stead_controller.db.tables import Bucket, ObjectAccount
from stead_controller.errors import AlreadyExists, LimitExceeded, NotFound
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.storage import bucket_sizes

CREATING: Final = "creating"
AVAILABLE: Final = "available"
MOST_POLICY_BYTES: Final = 20_480
MOST_BUCKETS: Final = 100  # per account, which was S3's own quota for long

# All are on in new buckets: https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html
PUBLIC_ACCESS: Final = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


@dataclass(frozen=True, slots=True)
class BucketFacts:
    """The settings of a bucket.

    `blocked` are the settings of its public access block, None when it has none; `cors` is its CORS document, if any;
    `encryption` is its ServerSideEncryptionConfiguration, None for the initial one; `account_blocked` are the settings
    that are on in all buckets of its account.
    """

    name: str
    account_id: str
    backend_name: str
    created: datetime
    policy: str | None
    is_available: bool = True
    blocked: frozenset[str] | None = None
    owner_enforced: bool = True
    cors: str | None = None
    encryption: str | None = None
    account_blocked: frozenset[str] = frozenset()

    @property
    def in_force(self) -> frozenset[str]:
        """Which of PUBLIC_ACCESS hold: its own, and its account's."""
        return (self.blocked or frozenset()) | self.account_blocked


def find(tx: Transaction, name: str) -> BucketFacts:
    """Return any account's bucket, with its account's public access block; raises NotFound."""
    row = tx.session.get(Bucket, name)
    if row is None:
        raise NotFound("bucket", name, code="NoSuchBucket")
    return replace(_facts(row), account_blocked=account_block(tx, row.account_id) or frozenset())


def account_block(tx: Transaction, account_id: str) -> frozenset[str] | None:
    """Return which of PUBLIC_ACCESS are on in all buckets of an account; None when it has no such setting."""
    row = tx.session.get(ObjectAccount, account_id)
    return None if row is None else frozenset(row.public_access_block.split(",")) - {""}


def block_account(tx: Transaction, account_id: str, blocked: frozenset[str] | None) -> None:
    """Set which of PUBLIC_ACCESS are on in all buckets of an account, or, with None, remove the setting."""
    row = tx.session.get(ObjectAccount, account_id)
    if blocked is None:
        if row is not None:
            tx.session.delete(row)
        return
    text = ",".join(sorted(blocked))
    if row is None:
        tx.session.add(ObjectAccount(account_id=account_id, public_access_block=text))
    else:
        row.public_access_block = text


def list_own(tx: Transaction, caller: Caller, *, prefix: str, after: str, limit: int) -> list[BucketFacts]:
    """Return the account's buckets by name: those after a name, at most `limit`."""
    found = select(Bucket).where(Bucket.account_id == caller.account_id, Bucket.state == AVAILABLE, Bucket.name > after)
    if prefix:
        found = found.where(Bucket.name.startswith(prefix, autoescape=True))
    return [_facts(row) for row in tx.session.scalars(found.order_by(Bucket.name).limit(limit))]


def page(tx: Transaction, after: str, limit: int) -> list[BucketFacts]:
    """Return buckets of all accounts by name: those after a name, at most `limit`."""
    found = select(Bucket).where(Bucket.state == AVAILABLE, Bucket.name > after)
    return [_facts(row) for row in tx.session.scalars(found.order_by(Bucket.name).limit(limit))]


def claim(tx: Transaction, caller: Caller, name: str, now: datetime) -> BucketFacts:
    """Claim a name for a bucket that is then created in the server; raises AlreadyExists, LimitExceeded.

    A bucket of the same owner that was never created in the server is returned again.
    """
    row = tx.session.get(Bucket, name)
    if row is not None:
        if row.account_id != caller.account_id:
            text = (
                "The requested bucket name is not available. The bucket namespace is shared by all users of "
                "the system. Please select a different name and try again."
            )
            raise AlreadyExists("bucket", text, code="BucketAlreadyExists")
        if row.state == AVAILABLE:
            text = "Your previous request to create the named bucket succeeded and you already own it."
            raise AlreadyExists("bucket", text, code="BucketAlreadyOwnedByYou")
        return _facts(row)
    count = tx.session.scalar(select(func.count()).where(Bucket.account_id == caller.account_id))
    if (count or 0) >= MOST_BUCKETS:
        raise LimitExceeded("You have attempted to create more buckets than allowed.", code="TooManyBuckets")
    row = Bucket(
        name=name,
        account_id=caller.account_id,
        backend_name=f"{name.replace('.', '-')[:40].rstrip('-')}-{secrets.token_hex(8)}",
        state=CREATING,
        created=now,
        public_access_block=",".join(PUBLIC_ACCESS),
        owner_enforced=True,
    )
    tx.session.add(row)
    bucket_sizes.begin(tx, row.backend_name, name, row.account_id, now)
    tx.session.flush()
    return _facts(row)


def made(tx: Transaction, bucket: BucketFacts) -> None:
    """Make a bucket available, after it was created in the server."""
    row = tx.session.get(Bucket, bucket.name)
    if row is not None and row.backend_name == bucket.backend_name:
        row.state = AVAILABLE


def forget(tx: Transaction, bucket: BucketFacts, now: datetime) -> None:
    """Free the name of a bucket that is removed from the server, which is billed until now; idempotent."""
    row = tx.session.get(Bucket, bucket.name)
    if row is not None and row.backend_name == bucket.backend_name:
        tx.session.delete(row)
        bucket_sizes.end(tx, bucket.backend_name, now)


def set_policy(tx: Transaction, bucket: BucketFacts, policy: str | None) -> None:
    """Replace the bucket's policy, whose form has been checked, or remove it; raises NotFound."""
    _row(tx, bucket).policy = policy


def set_cors(tx: Transaction, bucket: BucketFacts, document: str | None) -> None:
    """Replace the bucket's CORS document, which has been checked, or remove it; raises NotFound."""
    _row(tx, bucket).cors = document


def set_encryption(tx: Transaction, bucket: BucketFacts, document: str | None) -> None:
    """Replace the bucket's document of its encryption, which has been checked, or remove it; raises NotFound."""
    _row(tx, bucket).encryption = document


def block_public_access(tx: Transaction, bucket: BucketFacts, blocked: frozenset[str] | None) -> None:
    """Set which of PUBLIC_ACCESS are on, or, with None, remove the setting; raises NotFound."""
    _row(tx, bucket).public_access_block = None if blocked is None else ",".join(sorted(blocked))


def set_owner_enforced(tx: Transaction, bucket: BucketFacts, *, enforced: bool) -> None:
    """Set whether the bucket has ownership controls; raises NotFound."""
    _row(tx, bucket).owner_enforced = enforced


def _row(tx: Transaction, bucket: BucketFacts) -> Bucket:
    row = tx.session.get(Bucket, bucket.name)
    if row is None or row.backend_name != bucket.backend_name:
        raise NotFound("bucket", bucket.name, code="NoSuchBucket")
    return row


def _facts(row: Bucket) -> BucketFacts:
    block = row.public_access_block
    return BucketFacts(
        row.name,
        row.account_id,
        row.backend_name,
        row.created,
        row.policy,
        is_available=row.state == AVAILABLE,
        blocked=None if block is None else frozenset(block.split(",")) - {""},
        owner_enforced=row.owner_enforced,
        cors=row.cors,
        encryption=row.encryption,
    )
