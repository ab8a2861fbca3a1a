"""The rules of IMDSv1 and IMDSv2 as one table of requests and answers."""

from dataclasses import replace

import pytest

from stead_agent.metadata.answers import Known, answer, error
from stead_agent.metadata.http import Request, Response
from stead_agent.metadata.interface import Options
from tests.support.metadata_guests import guest

KEY = bytes(32)
NOW = 1_000_000.0
TTL = "x-aws-ec2-metadata-token-ttl-seconds"
TOKEN = "x-aws-ec2-metadata-token"


def ask(
    method: str,
    target: str,
    headers: dict[str, str] | None = None,
    *,
    now: float = NOW,
    number: int = 0,
    **options: object,
) -> Response:
    """Ask as a guest whose metadata options are those given."""
    who = replace(guest(number), options=replace(Options(), **options))
    return answer(Known(who), Request(method, target, headers or {}, keep_alive=True), KEY, now)


def token(seconds: int = 60, number: int = 0) -> str:
    return ask("PUT", "/latest/api/token", {TTL: str(seconds)}, number=number).body.decode()


def test_token_request() -> None:
    response = ask("PUT", "/latest/api/token", {TTL: "21600"}, http_put_response_hop_limit=3)
    assert response.status == 200
    assert response.headers == (("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600"),)
    assert response.hop_limit == 3
    assert response.content_type == "text/plain"


@pytest.mark.parametrize(
    ("method", "target", "headers", "status"),
    [
        ("PUT", "/latest/api/token", {}, 400),
        ("PUT", "/latest/api/token", {TTL: "0"}, 400),
        ("PUT", "/latest/api/token", {TTL: "21601"}, 400),
        ("PUT", "/latest/api/token", {TTL: "x"}, 400),
        ("PUT", "/latest/api/token", {TTL: "60", "x-forwarded-for": "10.0.0.1"}, 403),
        ("PUT", "/latest/api/token", {TTL: "60", "x-forwarded-for": ""}, 403),
        ("PUT", "/latest/api/token/", {TTL: "60"}, 200),
        ("PUT", "/2021-03-23/api/token", {TTL: "60"}, 405),
        ("GET", "/latest/api/token", {TTL: "60"}, 405),
        ("HEAD", "/latest/api/token", {TTL: "60"}, 405),
        ("POST", "/latest/api/token", {TTL: "60"}, 405),
        ("PUT", "/latest/meta-data/", {TTL: "60"}, 405),
        ("POST", "/latest/meta-data/", {}, 405),
        ("DELETE", "/latest/user-data", {}, 405),
        ("OPTIONS", "/", {}, 405),
        ("get", "/", {}, 405),
        ("HEAD", "/latest/meta-data/instance-id", {}, 200),
        ("GET", "/latest/api/", {}, 404),
        ("GET", "/latest/nothing", {}, 404),
        ("GET", "/latest/meta-data/instance-id", {"x-forwarded-for": "10.0.0.1"}, 200),
        ("GET", "/latest/meta-data/instance-id", {TOKEN: ""}, 401),
        ("GET", "/latest/meta-data/instance-id", {TOKEN: "A" * 56}, 401),
    ],
)
def test_answers(method: str, target: str, headers: dict[str, str], status: int) -> None:
    response = ask(method, target, headers)
    assert response.status == status
    assert bool(response.hop_limit) == (method == "PUT" and status == 200)


def test_token_opens_only_its_own_instance_and_only_in_time() -> None:
    mine = token(60)
    path = "/latest/meta-data/instance-id"
    for required in (False, True):
        response = ask("GET", path, {TOKEN: mine}, now=NOW + 20, http_tokens_required=required)
        assert response.status == 200
        assert response.headers == (("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "40"),)
        assert ask("GET", path, {TOKEN: mine}, now=NOW + 60, http_tokens_required=required).status == 401
        assert ask("GET", path, {TOKEN: mine}, number=1, http_tokens_required=required).status == 401
        assert ask("GET", path, {TOKEN: f"{mine}, {mine}"}, http_tokens_required=required).status == 401
    assert ask("GET", path, {TOKEN: token(60, number=1)}, number=1).body == b"i-0123456789abcde01"


@pytest.mark.parametrize("path", ["/", "/latest/meta-data/instance-id", "/latest/nothing", "/latest/user-data"])
def test_required_token_is_required_for_everything(path: str) -> None:
    assert ask("GET", path, http_tokens_required=True).status == 401


@pytest.mark.parametrize(("method", "target"), [("GET", "/"), ("PUT", "/latest/api/token"), ("POST", "/x")])
def test_disabled_endpoint_answers_403(method: str, target: str) -> None:
    assert ask(method, target, {TTL: "60"}, http_endpoint=False).status == 403


def test_unknown_address_gets_404() -> None:
    assert answer(None, Request("GET", "/", {}, keep_alive=True), KEY, NOW).status == 404
    assert answer(None, Request("PUT", "/latest/api/token", {TTL: "60"}, keep_alive=True), KEY, NOW).status == 404


def test_no_header_chooses_the_guest() -> None:
    for name in ("x-forwarded-for", "x-instance-id", "x-tenant-id", "x-instance-id-signature", "x-real-ip", "host"):
        response = ask("GET", "/latest/meta-data/instance-id", {name: "i-0123456789abcde01"})
        assert response.body == b"i-0123456789abcde00"


def test_content_types() -> None:
    known = Known(replace(guest(), user_data=b"\xff"))
    kind = {
        path: answer(known, Request("GET", path, {}, keep_alive=True), KEY, NOW).content_type
        for path in ("/latest/user-data", "/2009-04-04/user-data/", "/latest/meta-data/ami-id", "/latest/no")
    }
    assert list(kind.values()) == ["application/octet-stream", "application/octet-stream", "text/plain", "text/html"]


def test_hop_limit_stays_in_its_bounds() -> None:
    for wanted, given in ((0, 1), (1, 1), (64, 64), (255, 64)):
        response = ask("PUT", "/latest/api/token", {TTL: "60"}, http_put_response_hop_limit=wanted)
        assert response.hop_limit == given


def test_refusals_are_the_page_of_ec2() -> None:
    page = error(404).body.decode()
    assert page.startswith('<?xml version="1.0" encoding="iso-8859-1"?>\n<!DOCTYPE html PUBLIC')
    assert "<title>404 - Not Found</title>" in page
