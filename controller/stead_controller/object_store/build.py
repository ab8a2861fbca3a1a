"""The S3 endpoint, and the S3 server behind it that the settings select."""

from collections.abc import Callable

from stead_controller.aws.app import Transactions
from stead_controller.aws.authenticate import KeyLookup
from stead_controller.aws.call_record import OnCall
from stead_controller.aws.failed_logins import FailedLogins
from stead_controller.aws.throttle import Throttle
from stead_controller.clock import Clock
from stead_controller.object_store.access import Rights
from stead_controller.object_store.backend import Backend, Server
from stead_controller.object_store.embedded import EmbeddedServer, FindKey
from stead_controller.object_store.external import ExternalServer
from stead_controller.object_store.handler import ObjectStoreHandler
from stead_controller.settings import Settings


def build_handler(
    settings: Settings,
    transactions: Transactions,
    backend: Backend,
    find_key: KeyLookup,
    rights: Rights,
    *,
    on_call: OnCall,
    require_room: Callable[[], None],
    throttle: Throttle,
    failed_logins: FailedLogins,
    clock: Clock,
) -> ObjectStoreHandler:
    """Make the S3 endpoint from the settings, with a server from `open_server`."""
    return ObjectStoreHandler(
        transactions=transactions,
        find_key=find_key,
        backend=backend,
        region=settings.region,
        domain=(settings.object_domain, f"s3.{settings.region}.amazonaws.com"),
        rights=rights,
        on_call=on_call,
        require_room=require_room,
        throttle=throttle,
        failed_logins=failed_logins,
        clock=clock,
    )


def open_server(settings: Settings, find_key: FindKey) -> Server:
    """Return the configured server, else the embedded one; raises OSError, ValueError for a bad key file.

    `find_key` returns the key with which the embedded server encrypts the keys of objects.
    """
    if not settings.object_endpoint:
        return EmbeddedServer(settings.object_folder, settings.object_folder / "weed.log", find_key)
    if settings.object_key_file is None:
        raise ValueError("an S3 server for objects needs a file with the access key: --object-key-file")
    return ExternalServer(
        settings.object_endpoint, settings.object_region, settings.object_key_file, settings.object_ca_file
    )
