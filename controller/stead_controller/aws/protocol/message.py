"""An HTTP request and its answer, as the AWS chain sees them: no sockets, no framework."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from stead_controller.aws.protocol.form import decode_form
from stead_controller.errors import BadRequest
from stead_controller.resources.network.vpc_endpoint_access import Via

FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Request:
    """A completely received HTTP request.

    `path` and `query` are raw, still percent-encoded; `headers` preserves order, case and duplicates, since a signature
    covers them. `secure` tells whether it came through TLS, `via` through which VPC endpoint; `source_ip` is then a
    private address.
    """

    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    source_ip: str
    secure: bool = False
    via: Via | None = None

    @property
    def source(self) -> str:
        """A text that identifies the source: the address, with the VPC if it is private, since VPCs may overlap."""
        return self.source_ip if self.via is None else f"{self.via.vpc_id} {self.source_ip}"

    @cached_property
    def _headers_by_name(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name, value in self.headers:
            found.setdefault(name.lower(), []).append(value)
        return found

    def header(self, name: str) -> str | None:
        """Return the value of a header that must not be repeated, by its lower-case name; the first one of several."""
        values = self._headers_by_name.get(name)
        return values[0] if values else None

    def header_values(self, name: str) -> list[str]:
        """Return all values of a header, by its lower-case name."""
        return self._headers_by_name.get(name, [])

    def header_names(self) -> Iterable[str]:
        """Return the lower-case names of all headers."""
        return self._headers_by_name.keys()

    @cached_property
    def query_fields(self) -> list[tuple[str, str]]:
        """Return the decoded name/value pairs of the query string, in order; raises BadRequest if it is malformed."""
        return decode_form(self.query)

    @cached_property
    def fields(self) -> dict[str, str]:
        """Return the parameters of query string and form body together.

        Raises BadRequest if a name occurs twice with different values, or if the body is not a form.
        """
        merged: dict[str, str] = {}
        for name, value in [*self.query_fields, *self._body_fields()]:
            if merged.setdefault(name, value) != value:
                raise BadRequest(f"The parameter {name} is given twice", code="InvalidQueryParameter")
        return merged

    def _body_fields(self) -> list[tuple[str, str]]:
        if not self.body:
            return []
        media_type, _, options = (self.header("content-type") or FORM).partition(";")
        if media_type.strip().lower() != FORM:
            raise BadRequest(f"The body must be {FORM}", code="MalformedQueryString")
        charset = options.lower().replace(" ", "").removeprefix("charset=").strip('"')
        if charset not in ("", "utf-8", "utf8", "us-ascii"):
            raise BadRequest("The body must be UTF-8", code="MalformedQueryString")
        try:
            return decode_form(self.body.decode("utf-8"))
        except UnicodeDecodeError:
            raise BadRequest("The body is not UTF-8", code="MalformedQueryString") from None


@dataclass(slots=True)
class Response:
    """An HTTP answer ready to be sent."""

    status: int
    content_type: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
