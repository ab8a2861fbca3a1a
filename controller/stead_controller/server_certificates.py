"""What a controller shows on its ports: made at its start, anew before it ends, and whenever the authority changes.

Connections that are open stay as they are; each new one is made with what there is at its time.
"""

import ssl
from collections.abc import Sequence
from typing import Final

from stead_controller.aws.endpoint_certificates import EndpointCertificates
from stead_controller.resources.network import vpc_endpoint_services
from stead_controller.secrets import access_files
from stead_controller.settings import Settings
from stead_proto import tls
from stead_proto.certificates import Authority

_FILE: Final = "server.pem"


class ServerCertificates:
    """The controller's identity, and the TLS contexts of its ports; `renew` is called by the event loop alone."""

    def __init__(self, authority: Authority, settings: Settings, zones: Sequence[str]) -> None:
        """Make an identity for the addresses that the controller listens at, and the names of VPC endpoints."""
        self._authority = authority
        self._state_dir = settings.state_dir
        addresses = [each for each in (settings.listen, settings.guest_listen) if each]
        self._names = (*addresses, *vpc_endpoint_services.host_names(settings.region))
        self.identity = authority.issue_server(self._names)
        self.https = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._hosts = self._for_hosts()
        self.hosts = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        """Demands a certificate of an authority that is trusted at the time of the connection."""
        self.hosts.verify_mode = ssl.CERT_REQUIRED
        self.hosts.sni_callback = self._choose
        self.endpoints = EndpointCertificates(authority, self.https, settings.region, zones, settings.state_dir)
        self._load()

    def renew(self) -> None:
        """Show a new certificate, signed by the authority that signs now, and trust those that are trusted now.

        Operators and clients find theirs in the state directory.
        """
        access_files.write(self._state_dir, self._authority)
        self.identity = self._authority.issue_server(self._names)
        self._load()
        self.endpoints.forget()

    async def renew_in_time(self) -> None:
        """Renew what ends soon, as it does where a controller runs for a year."""
        if tls.ends_soon(self.identity.certificate_pem):
            self.renew()
        else:
            access_files.write(self._state_dir, self._authority)

    def _load(self) -> None:
        file = self._state_dir / _FILE
        tls.write_private(file, self.identity.key_pem + self.identity.certificate_pem)
        self.https.load_cert_chain(file)
        self.hosts.load_cert_chain(file)
        self._hosts = self._for_hosts()
        self._hosts.load_cert_chain(file)

    def _for_hosts(self) -> ssl.SSLContext:
        """Make a context with what is trusted now: from one that there is nothing can be taken away."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_verify_locations(cadata=self._authority.ca_pem.decode("ascii"))
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _choose(self, connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        """Give a connection the context of its time; called for clients that name no server, too."""
        del name
        connection.context = self._hosts
