"""What each launch asks of its cloud, its account and its image: a database on a server answers all of it at once."""

from stead_controller.db.prepared import ask
from stead_controller.db.tables import EbsEncryption, MetadataDefaults
from stead_controller.desired.messages import region
from stead_controller.metering import cost_tags
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.images import images
from stead_controller.resources.instances.launch_request import LaunchRequest
from stead_controller.resources.network import unclaimed_addresses
from stead_controller.resources.storage import block_devices


def ask_ahead(tx: Transaction, caller: Caller, request: LaunchRequest, image_id: str) -> None:
    """Ask, before anything is written; what is a fact of the transaction is known from then on."""
    account_id = caller.account_id
    ask(
        tx.connection,
        images.question(caller, image_id),
        block_devices.question(image_id),
        lookup.question_of_rare(EbsEncryption, account_id),
        lookup.question_of_rare(MetadataDefaults, account_id),
        (region.FACTS, {}),
        (unclaimed_addresses.ANY, {}),
        *([cost_tags.question(account_id)] if request.all_tags else ()),
    )
    region.region_of(tx)
    unclaimed_addresses.are_any(tx)
    if request.all_tags:
        cost_tags.active_at_launch(tx, account_id)
