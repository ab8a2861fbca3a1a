"""Certificates of the names that one interface endpoint for buckets has: a wildcard stands for one label only.

The names of all other endpoints, and of services, are in the server's own certificate.
"""

import asyncio
import ssl
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from stead_controller.resources.network.vpc_endpoint_access import Via
from stead_controller.resources.network.vpc_endpoint_services import host_names, names_apart
from stead_proto.certificates import Authority

_KNOWN: Final = 256


class EndpointCertificates:
    """The TLS contexts of connections through endpoints: `default`, or one of the endpoint's own."""

    def __init__(
        self, authority: Authority, default: ssl.SSLContext, region: str, zones: Sequence[str], folder: Path
    ) -> None:
        """Take the authority; `folder` may hold private keys."""
        self._authority = authority
        self._default = default
        self._region = region
        self._zones = zones
        self._folder = folder
        self._issued = lru_cache(_KNOWN)(self._issue)

    async def context_of(self, via: Via) -> ssl.SSLContext:
        """Return the TLS context for a connection through an endpoint; raises OSError if the disk is full."""
        names = names_apart(via, self._region, self._zones)
        return await asyncio.to_thread(self._issued, tuple(names)) if names else self._default

    def forget(self) -> None:
        """Issue certificates anew for later connections: the authority has changed."""
        self._issued.cache_clear()

    def _issue(self, names: Sequence[str]) -> ssl.SSLContext:
        identity = self._authority.issue_server([*names, *host_names(self._region)])
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        with tempfile.NamedTemporaryFile(dir=self._folder, prefix=".endpoint-") as chain:  # of mode 0600
            chain.write(identity.key_pem + identity.certificate_pem)
            chain.flush()
            context.load_cert_chain(chain.name)
        return context
