"""What is answered beside operations on the ports of the AWS APIs, by how a path begins."""

from collections.abc import Mapping
from functools import partial

from stead_controller.aws.app import Transactions
from stead_controller.aws.pricing import price_lists
from stead_controller.aws.server import PageHandler
from stead_controller.aws.sns import signing_certificate
from stead_controller.clock import Clock
from stead_controller.secrets import message_signer
from stead_controller.secrets.message_signer import MessageSigner


def everything(
    signer: MessageSigner, transactions: Transactions, region: str, clock: Clock, page_key: bytes
) -> Mapping[str, PageHandler]:
    """Return who answers: the certificate of messages, and the files of price lists."""
    return {
        message_signer.PATH: partial(signing_certificate.serve, signer),
        price_lists.PATH: price_lists.Files(transactions, region, clock, page_key).serve,
    }
