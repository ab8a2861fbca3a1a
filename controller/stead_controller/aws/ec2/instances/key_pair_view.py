"""Key pairs as EC2 shows them."""

from stead_controller.aws.call import Result
from stead_controller.aws.ec2.tags_view import tags_view
from stead_controller.resources.instances.key_pairs import DescribedKeyPair


def key_pair_view(found: DescribedKeyPair, *, with_public_key: bool) -> Result:
    """Show a key pair, with its public key where that is asked for."""
    pair = found.pair
    return {
        "KeyPairId": pair.id,
        "KeyName": pair.name,
        "KeyType": pair.key_type,
        "KeyFingerprint": pair.fingerprint,
        "CreateTime": pair.created,
        "Tags": tags_view(found.tags),
        "PublicKey": pair.public_key if with_public_key else None,
    }
