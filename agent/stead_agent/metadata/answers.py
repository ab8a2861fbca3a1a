"""Answer a request of a known guest: the rules of IMDSv1 and IMDSv2, without sockets.

Rules and status codes:
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html (how IMDSv2 works) and
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Final

from stead_agent.metadata import tokens
from stead_agent.metadata.http import Request, Response, phrase
from stead_agent.metadata.interface import Guest, PushedKey
from stead_agent.metadata.role import for_who_has_no_token, without_credentials
from stead_agent.metadata.tree import entries, find, normal_path, role_entries
from stead_agent.metadata.versions import LATEST, first_versions

TOKEN_PATH: Final = "latest/api/token"  # noqa: S105  a path

_TOKEN: Final = "x-aws-ec2-metadata-token"  # noqa: S105  a header's name
_LIFETIME: Final = "x-aws-ec2-metadata-token-ttl-seconds"
_LIFETIME_SENT: Final = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"


@dataclass(slots=True)
class Counted:
    """How often a guest has asked without a token: with success, and where one is required."""

    without_token: int = 0
    refused: int = 0


@dataclass(slots=True)
class Known:
    """A guest and, from its first request on, all that it can read."""

    guest: Guest
    pushed: tuple[PushedKey, ...] = ()
    counted: Counted = field(default_factory=Counted)
    _entries: dict[str, bytes] = field(default_factory=dict)
    _without_token: dict[str, bytes] = field(default_factory=dict)
    _first: dict[str, str] | None = None  # since which version each path exists; None until needed
    _good_since: float = math.inf  # Unix seconds: when the clock is set back, credentials are valid again
    _good_until: float = 0.0  # when the first of the credentials and of the pushed keys expires

    def find(self, path: str, now: float, *, by_token: bool = True) -> bytes | None:
        """Return the current value of a path, for a request with a token or without one."""
        if not self._good_since <= now < self._good_until:
            self._good_since, self._first = now, None
            role, identity_role = self.guest.role, self.guest.identity_role
            pushed = [key for key in self.pushed if now < key.expires]
            ends = [each.expires for each in (role, identity_role) if each is not None and now < each.expires]
            ends += [key.expires for key in pushed]
            self._good_until = min(ends, default=math.inf)
            if role is not None and now >= role.expires:
                role = without_credentials(role)
            if identity_role is not None and now >= identity_role.expires:
                identity_role = without_credentials(identity_role)
            self._entries = entries(replace(self.guest, role=role, identity_role=identity_role), pushed)
            self._without_token = self._entries
            if role is not None and role.without_token is not None:
                self._without_token = self._entries | role_entries(for_who_has_no_token(role))
        if self._first is None and not path.startswith(LATEST):
            self._first = first_versions(self._entries)
        return find(self._entries if by_token else self._without_token, path, self._first)


def answer(known: Known | None, request: Request, key: bytes, now: float, *, by_ipv6: bool = False) -> Response:
    """Answer one request; `known` is the guest at the connection's other end, or None when there is none."""
    if known is None:
        return error(404)
    options = known.guest.options
    if not options.http_endpoint or (by_ipv6 and not options.http_protocol_ipv6):
        return error(403)
    path = normal_path(request.target)
    if path == TOKEN_PATH:
        return _answer_token_request(known.guest, request, key, now)
    if request.method not in {"GET", "HEAD"}:
        return error(405, ("Allow", "GET, HEAD"))
    headers: tuple[tuple[str, str], ...] = ()
    token = request.headers.get(_TOKEN)
    if token is not None:
        left = tokens.seconds_left(key, known.guest.instance_id, token, now)
        if not left:
            return error(401)
        headers = ((_LIFETIME_SENT, str(left)),)
    elif known.guest.options.http_tokens_required:
        known.counted.refused += 1
        return error(401)
    body = None if path is None else known.find(path, now, by_token=token is not None)
    if path is None or body is None:
        return error(404)
    if token is None:
        known.counted.without_token += 1
    content_type = "application/octet-stream" if path.endswith("/user-data") else "text/plain"
    return Response(200, body, content_type, headers)


def _answer_token_request(guest: Guest, request: Request, key: bytes, now: float) -> Response:
    """Issue a session token, unless the request came through a proxy (which adds X-Forwarded-For)."""
    if request.method != "PUT":
        return error(405, ("Allow", "PUT"))
    if "x-forwarded-for" in request.headers:
        return error(403)
    seconds = tokens.lifetime(request.headers.get(_LIFETIME))
    if seconds is None:
        return error(400)
    token = tokens.mint(key, guest.instance_id, seconds, now)
    hop_limit = min(max(guest.options.http_put_response_hop_limit, 1), 64)
    return Response(200, token.encode(), headers=((_LIFETIME_SENT, str(seconds)),), hop_limit=hop_limit)


def error(status: int, *headers: tuple[str, str]) -> Response:
    """Return an error with the small XHTML page that EC2's server sends."""
    title = f"{status} - {phrase(status)}"
    page = (
        '<?xml version="1.0" encoding="iso-8859-1"?>\n'
        '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN"\n'
        '\t"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">\n'
        '<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">\n'
        f" <head>\n  <title>{title}</title>\n </head>\n <body>\n  <h1>{title}</h1>\n </body>\n</html>\n"
    )
    return Response(status, page.encode(), "text/html", headers)
