"""Whether a bucket takes what an export writes: by its policy, which must allow the service, as at AWS.

See https://docs.aws.amazon.com/cur/latest/userguide/dataexports-s3-bucket.html.
"""

from typing import Final

from stead_controller.authorization.conditions import context_of
from stead_controller.authorization.evaluate import Policies, Request, evaluate
from stead_controller.authorization.policy_document import parse
from stead_controller.authorization.principals import Principal
from stead_controller.errors import InvalidParameter, NotFound
from stead_controller.request.transaction import Transaction
from stead_controller.resources.storage import buckets

SERVICE: Final = "bcm-data-exports.amazonaws.com"
_ARN: Final = "arn:aws:s3:::"


def require(tx: Transaction, bucket: str, owner: str, prefix: str, arn: str, account_id: str) -> None:  # noqa: PLR0917 - who writes what where
    """Raise InvalidParameter unless the service may write below a prefix for an export, and `owner` has the bucket."""
    try:
        found = buckets.find(tx, bucket)
    except NotFound as error:
        raise InvalidParameter(f"The bucket {bucket[:100]} does not exist.") from error
    if found.account_id != owner:
        raise InvalidParameter(f"The bucket {bucket} is not of account {owner}.")
    policy = parse(found.policy, "resource") if found.policy else None
    service = Principal(SERVICE, "", "service")
    context = context_of({"aws:SourceArn": arn, "aws:SourceAccount": account_id, "aws:SecureTransport": "true"})
    for action, resource in (("s3:GetBucketPolicy", bucket), ("s3:PutObject", f"{bucket}/{prefix}x")):
        asked = Request(action, f"{_ARN}{resource}", service, context)
        policies = Policies(resource=policy, resource_account=owner, resource_must_allow=True)
        if not evaluate(asked, policies).allowed:
            raise InvalidParameter(
                f"The policy of the bucket {bucket} does not allow {SERVICE} to {action} on {_ARN}{resource[:300]}."
            )
