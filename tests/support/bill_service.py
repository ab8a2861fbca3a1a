"""The operator's service of bills over a test's database, for `stead bill` and `stead price` without a cloud."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import grpc

from stead_cli.settings import Settings
from stead_controller.db.session import Database
from stead_controller.operator.bills import Bills
from stead_controller.operator.refusals import Refusals
from stead_proto import tls
from stead_proto.certificates import Authority
from stead_proto.v1 import operator_pb2_grpc


@contextmanager
def served(database: Database, clock: Callable[[], datetime], folder: Path) -> Iterator[Settings]:
    """Serve bills of region us-east-1; yields the settings of a machine whose operator may call the service."""
    authority = Authority.create()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def serve() -> tuple[grpc.aio.Server, int]:
        server = grpc.aio.server(interceptors=[Refusals()])
        operator_pb2_grpc.add_BillsServicer_to_server(Bills(database, clock, "us-east-1"), server)
        port = server.add_secure_port("127.0.0.1:0", tls.server_credentials(authority.issue_server(["127.0.0.1"])))
        await server.start()
        return server, port

    server, port = asyncio.run_coroutine_threadsafe(serve(), loop).result(60)
    own = Settings(state_dir=folder, host_port=port)
    identity = authority.issue_operator("me")
    own.access_dir.mkdir(parents=True, exist_ok=True)
    for name, content in (
        ("operator-key.pem", identity.key_pem),
        ("operator.pem", identity.certificate_pem),
        ("ca.pem", identity.ca_pem),
    ):
        (own.access_dir / name).write_bytes(content)
    try:
        yield own
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(None), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()
