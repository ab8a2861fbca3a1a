"""Settings of a bucket: its policy, public access block, CORS, ownership and encryption.

Buckets differ in their policies, public access blocks, CORS, and the KMS keys that are shown for their objects. The
owner owns all objects in a bucket, and everything written is encrypted: other settings are refused.
"""

from collections.abc import Mapping
from typing import Final

from stead_controller.authorization.policy_document import MalformedPolicy, PolicyDocument, parse, parse_new
from stead_controller.authorization.public_policies import is_public
from stead_controller.errors import BadRequest, NotAuthorized, NotFound
from stead_controller.object_store import answers, cors, encryption
from stead_controller.object_store.access import arn_of
from stead_controller.object_store.addressing import path_of
from stead_controller.object_store.exchange import Answer, Exchange, Handler, Means
from stead_controller.resources.iam import bound_principals
from stead_controller.resources.storage import buckets

_OWNERSHIP: Final = "BucketOwnerEnforced"


async def get_policy(exchange: Exchange, means: Means) -> Answer:
    """Answer the bucket's policy, with users and roles shown by their ARNs."""
    policy = _policy_of(exchange)
    [text] = await means.transactions.run(lambda tx: bound_principals.shown(tx, [policy]), writes=False)
    return Answer(body=text.encode(), headers={"Content-Type": "application/json"})


async def get_policy_status(exchange: Exchange, means: Means) -> Answer:
    """Answer whether the bucket's policy is public."""
    del means
    policy = parse(_policy_of(exchange), "resource")
    return Answer(body=answers.policy_status(is_public=is_public(policy)))


def _policy_of(exchange: Exchange) -> str:
    if exchange.existing_bucket.policy is None:
        text = "The bucket policy does not exist"
        raise NotFound("bucket policy", exchange.existing_bucket.name, message=text, code="NoSuchBucketPolicy")
    return exchange.existing_bucket.policy


async def put_policy(exchange: Exchange, means: Means) -> Answer:
    """Replace the bucket's policy; it must be about this bucket only, and be public only if that is not blocked."""
    document = await exchange.document()
    if len(document) > buckets.MOST_POLICY_BYTES:
        raise BadRequest("Policies must be at most 20 KiB.", code="PolicyTooLarge")
    try:
        text = document.decode()
        parsed = parse_new(text, "resource")
    except UnicodeDecodeError:
        raise BadRequest("This policy contains invalid Json", code="MalformedPolicy") from None
    except MalformedPolicy as error:
        raise BadRequest(error.message, code="MalformedPolicy") from None
    arn = arn_of(exchange.existing_bucket.name)
    _check_resources(parsed, arn)
    if "BlockPublicPolicy" in exchange.existing_bucket.in_force and is_public(parsed):
        why = "because public policies are blocked by the BlockPublicPolicy block public access setting."
        who = f"User: {exchange.asked.arn} is not authorized to perform: s3:PutBucketPolicy"
        raise NotAuthorized(f'{who} on resource: "{arn}" {why}', code="AccessDenied")
    try:
        await means.transactions.run(
            lambda tx: buckets.set_policy(tx, exchange.existing_bucket, bound_principals.bound(tx, text)),
        )
    except MalformedPolicy:
        raise BadRequest("Invalid principal in policy", code="MalformedPolicy") from None
    return Answer(204)


def _check_resources(policy: PolicyDocument, arn: str) -> None:
    for statement in policy.statements:
        resources = statement.source.get("Resource", statement.source.get("NotResource", []))
        for resource in resources if isinstance(resources, list) else [resources]:
            if resource != arn and not str(resource).startswith(f"{arn}/"):
                raise BadRequest("Policy has invalid resource", code="MalformedPolicy")


async def delete_policy(exchange: Exchange, means: Means) -> Answer:
    """Remove the bucket's policy, if it has one."""
    await means.transactions.run(lambda tx: buckets.set_policy(tx, exchange.existing_bucket, None))
    return Answer(204)


async def get_public_access_block(exchange: Exchange, means: Means) -> Answer:
    """Answer which settings are on."""
    del means
    if exchange.existing_bucket.blocked is None:
        text = "The public access block configuration was not found"
        code = "NoSuchPublicAccessBlockConfiguration"
        raise NotFound("public access block", exchange.existing_bucket.name, message=text, code=code)
    return Answer(body=answers.public_access_block(exchange.existing_bucket.blocked))


async def put_public_access_block(exchange: Exchange, means: Means) -> Answer:
    """Set all settings; those about ACLs have no effect, since no bucket has an ACL that grants access to others."""
    blocked = answers.read_public_access_block(await exchange.document())
    await means.transactions.run(lambda tx: buckets.block_public_access(tx, exchange.existing_bucket, blocked))
    return Answer()


async def delete_public_access_block(exchange: Exchange, means: Means) -> Answer:
    """Remove all settings, so that nothing is blocked."""
    await means.transactions.run(lambda tx: buckets.block_public_access(tx, exchange.existing_bucket, None))
    return Answer(204)


async def get_ownership_controls(exchange: Exchange, means: Means) -> Answer:
    """Answer the object ownership that all buckets have, unless the setting was removed."""
    del means
    if not exchange.existing_bucket.owner_enforced:
        text = "The bucket ownership controls were not found"
        code = "OwnershipControlsNotFoundError"
        raise NotFound("ownership controls", exchange.existing_bucket.name, message=text, code=code)
    return Answer(body=answers.ownership())


async def put_ownership_controls(exchange: Exchange, means: Means) -> Answer:
    """Accept the object ownership that all buckets have; raises BadRequest for another."""
    check_ownership(answers.read_ownership(await exchange.document()))
    await means.transactions.run(lambda tx: buckets.set_owner_enforced(tx, exchange.existing_bucket, enforced=True))
    return Answer()


async def delete_ownership_controls(exchange: Exchange, means: Means) -> Answer:
    """Remove the setting from answers; ACLs still grant access to nobody else."""
    await means.transactions.run(lambda tx: buckets.set_owner_enforced(tx, exchange.existing_bucket, enforced=False))
    return Answer(204)


def check_ownership(wanted: str | None) -> None:
    """Raise BadRequest for an object ownership that needs ACLs.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/about-object-ownership.html
    """
    if wanted not in (None, _OWNERSHIP):
        raise BadRequest(f"Only the ObjectOwnership {_OWNERSHIP} is implemented.", code="NotImplemented")


async def get_encryption(exchange: Exchange, means: Means) -> Answer:
    """Answer the encryption of new objects, if the server behind encrypts."""
    if not await means.backend.encrypts(path_of(exchange.existing_bucket.backend_name)):
        text = "The server side encryption configuration was not found"
        code = "ServerSideEncryptionConfigurationNotFoundError"
        raise NotFound("encryption", exchange.existing_bucket.name, message=text, code=code)
    if exchange.existing_bucket.encryption is None:
        return Answer(body=answers.encryption(answers.EncryptionRule(encryption.ALGORITHM)))
    return Answer(body=exchange.existing_bucket.encryption.encode())


async def put_encryption(exchange: Exchange, means: Means) -> Answer:
    """Set the key of new objects; raises BadRequest if it is no valid encryption, or the server behind has none."""
    rule = answers.read_encryption(await exchange.document())
    if rule.algorithm not in (encryption.ALGORITHM, encryption.KMS):
        raise encryption.wrong_algorithm(rule.algorithm)
    if rule.algorithm == encryption.KMS:
        encryption.key_arn(rule.key, means.region, exchange.asked.account_id)
    if not await means.backend.encrypts(path_of(exchange.existing_bucket.backend_name)):
        raise encryption.not_built()
    text = answers.encryption(rule).decode()
    await means.transactions.run(lambda tx: buckets.set_encryption(tx, exchange.existing_bucket, text))
    return Answer()


async def get_cors(exchange: Exchange, means: Means) -> Answer:
    """Answer what cross-origin pages may request."""
    del means
    if exchange.existing_bucket.cors is None:
        text = "The CORS configuration does not exist"
        raise NotFound("CORS", exchange.existing_bucket.name, message=text, code="NoSuchCORSConfiguration")
    return Answer(body=exchange.existing_bucket.cors.encode())


async def put_cors(exchange: Exchange, means: Means) -> Answer:
    """Set what cross-origin pages may request."""
    text = cors.write(cors.read(await exchange.document())).decode()
    await means.transactions.run(lambda tx: buckets.set_cors(tx, exchange.existing_bucket, text))
    return Answer()


async def delete_cors(exchange: Exchange, means: Means) -> Answer:
    """Allow cross-origin pages nothing."""
    await means.transactions.run(lambda tx: buckets.set_cors(tx, exchange.existing_bucket, None))
    return Answer(204)


async def delete_encryption(exchange: Exchange, means: Means) -> Answer:
    """Return to the encryption that new buckets have."""
    await means.transactions.run(lambda tx: buckets.set_encryption(tx, exchange.existing_bucket, None))
    return Answer(204)


HANDLERS: Final[Mapping[str, Handler]] = {
    "DeleteBucketCors": delete_cors,
    "DeleteBucketEncryption": delete_encryption,
    "DeleteBucketOwnershipControls": delete_ownership_controls,
    "DeleteBucketPolicy": delete_policy,
    "DeletePublicAccessBlock": delete_public_access_block,
    "GetBucketCors": get_cors,
    "GetBucketEncryption": get_encryption,
    "GetBucketOwnershipControls": get_ownership_controls,
    "GetBucketPolicy": get_policy,
    "GetBucketPolicyStatus": get_policy_status,
    "GetPublicAccessBlock": get_public_access_block,
    "PutBucketCors": put_cors,
    "PutBucketEncryption": put_encryption,
    "PutBucketOwnershipControls": put_ownership_controls,
    "PutBucketPolicy": put_policy,
    "PutPublicAccessBlock": put_public_access_block,
}
