"""CreateKeyPair, ImportKeyPair, DescribeKeyPairs and DeleteKeyPair."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.describe import dict_to_tags, tags_on_create
from stead_controller.aws.ec2 import selection
from stead_controller.aws.ec2.instances.key_pair_view import key_pair_view
from stead_controller.resources.instances import key_pairs, public_keys


def _make_key(params: Params) -> public_keys.MadeKey | None:
    """Generate the key, which takes 0.1 s for RSA; None for an invalid type, which is refused later."""
    generator = public_keys.GENERATORS.get(params.get("KeyType", "rsa"))
    return generator(params.get("KeyFormat", "pem"), params["KeyName"]) if generator else None


@operation("CreateKeyPair", prepare=_make_key)
def create_key_pair(call: Call, params: Params) -> Result:
    """Create a key pair and show its private key, once."""
    tags = tags_on_create(params, "key-pair")["key-pair"]
    made = key_pairs.create(
        call.tx,
        call.caller,
        params["KeyName"],
        call.prepared,
        key_type=params.get("KeyType", "rsa"),
        key_format=params.get("KeyFormat", "pem"),
        key_tags=tags,
        now=call.now,
    )
    return {
        "KeyPairId": made.id,
        "KeyName": made.name,
        "KeyFingerprint": made.fingerprint,
        "KeyMaterial": made.private_key,
        "Tags": dict_to_tags(tags),
    }


@operation("ImportKeyPair")
def import_key_pair(call: Call, params: Params) -> Result:
    """Store a public key that the caller made."""
    tags = tags_on_create(params, "key-pair")["key-pair"]
    row = key_pairs.import_public_key(
        call.tx, call.caller, params["KeyName"], params["PublicKeyMaterial"], key_tags=tags, now=call.now
    )
    return {
        "KeyPairId": row.id,
        "KeyName": row.name,
        "KeyFingerprint": row.fingerprint,
        "Tags": dict_to_tags(tags),
    }


@operation("DescribeKeyPairs", writes=False)
def describe_key_pairs(call: Call, params: Params) -> Result:
    """List the caller's key pairs."""
    asked = selection.everything(params, key_pairs.FILTERS, ids="KeyPairIds")
    with_public_key = params.get("IncludePublicKey", False)
    found = key_pairs.describe(call.tx, call.caller, asked, params.get("KeyNames", ()))
    return {"KeyPairs": [key_pair_view(pair, with_public_key=with_public_key) for pair in found]}


@operation("DeleteKeyPair")
def delete_key_pair(call: Call, params: Params) -> Result:
    """Delete a key pair; it is no error if it does not exist."""
    removed = key_pairs.remove(call.tx, call.caller, name=params.get("KeyName"), key_pair_id=params.get("KeyPairId"))
    return {"Return": True, "KeyPairId": removed}
