"""Our verification against botocore's signing: no false refusal, no false acceptance."""

import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from stead_controller.aws import signature
from stead_controller.aws.protocol.message import Request
from stead_controller.aws.signature import (
    MAX_EXPIRES,
    Reason,
    Refused,
    check_coverage,
    check_time,
    is_signed_with,
    read_claim,
)
from stead_controller.errors import BadRequest
from tests.support.examples import examples

KEY, SECRET = "AKIAEXAMPLE000000000", "a/secret+key"
NOW = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)
FORM = "application/x-www-form-urlencoded; charset=utf-8"


def sign(
    *,
    method: str = "POST",
    url: str = "http://stead.example:8773/",
    body: bytes = b"Action=DescribeInstances",
    headers: dict[str, str] | None = None,
    presign: bool = False,
    expires: int = 900,
    token: str | None = None,
    service: str = "ec2",
    region: str = "eu-1",
    at: datetime = NOW,
    secret: str = SECRET,
    key: str = KEY,
) -> Request:
    """The request as botocore signs it and sends it."""
    aws = AWSRequest(method=method, url=url, data=body, headers={"Content-Type": FORM, **(headers or {})})
    credentials = Credentials(key, secret, token)
    signer = (
        SigV4QueryAuth(credentials, service, region, expires) if presign else SigV4Auth(credentials, service, region)
    )
    with patch("botocore.auth.get_current_datetime", return_value=at.replace(tzinfo=None)):
        signer.add_auth(aws)
    prepared: Any = aws.prepare()
    parts = urlsplit(prepared.url)
    sent = [("Host", parts.netloc)]
    for name, value in prepared.headers.items():
        sent.append((name, value.decode() if isinstance(value, bytes) else str(value)))
    return Request(method, parts.path, parts.query, tuple(sent), prepared.body or b"", "127.0.0.1")


def verify(request: Request, *, secret: str = SECRET, now: datetime = NOW, **options: Any) -> bool:
    """Whether the request would be let in, for whatever reason not."""
    try:
        claim = read_claim(request)
        check_time(claim, now)
        check_coverage(request, claim)
        known = secret if claim.access_key_id == KEY else "another key's secret"
        return is_signed_with(request, claim, known, **options)
    except (BadRequest, Refused):
        return False


def reason(request: Request, now: datetime = NOW) -> Reason:
    def check() -> None:
        claim = read_claim(request)
        check_time(claim, now)
        check_coverage(request, claim)
        is_signed_with(request, claim, SECRET)

    with pytest.raises(Refused) as caught:
        check()
    return caught.value.reason


def changed(request: Request, **changes: Any) -> Request:
    fields = {name: getattr(request, name) for name in ("method", "path", "query", "headers", "body", "source_ip")}
    return Request(**{**fields, **changes})


def with_header(request: Request, name: str, value: str | None) -> Request:
    remaining = tuple((key, old) for key, old in request.headers if key.lower() != name.lower())
    return changed(request, headers=remaining + (((name, value),) if value is not None else ()))


def test_reads_a_claim() -> None:
    claim = read_claim(sign(token="a-token"))
    assert (claim.access_key_id, claim.time, claim.region, claim.service) == (KEY, NOW, "eu-1", "ec2")
    assert (claim.presigned, claim.expires, claim.session_token) == (False, None, "a-token")
    assert set(claim.signed_headers) == {"content-type", "host", "x-amz-date", "x-amz-security-token"}
    presigned = read_claim(sign(method="GET", body=b"", url="http://h/?Action=A", presign=True, token="a-token"))
    assert (presigned.presigned, presigned.expires, presigned.session_token) == (True, 900, "a-token")
    assert "a-token" not in repr(claim)


HEADER_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
PATHS = st.lists(st.sampled_from(["a", "b c", "é", ".", "..", "", "%", "~x", "a+b", "x=y"]), max_size=4).map(
    lambda steps: "/" + "/".join(quote(step, safe="+=~") for step in steps)
)
PAIRS = st.lists(st.tuples(st.text(min_size=1, max_size=6), st.text(max_size=6)), max_size=4)


def encodable(pairs: list[tuple[str, str]]) -> bool:
    return not any("\ud800" <= character <= "\udfff" for pair in pairs for text in pair for character in text)


QUERIES = PAIRS.filter(encodable).map(
    lambda pairs: "&".join(f"{quote(a, safe='-_.~')}={quote(b, safe='-_.~')}" for a, b in pairs)
)


@settings(max_examples=examples(100), deadline=None)
@given(
    method=st.sampled_from(["GET", "POST", "PUT"]),
    path=PATHS,
    query=QUERIES.filter(lambda query: "X-Amz" not in query),
    body=st.binary(max_size=50),
    extra=st.dictionaries(
        st.sampled_from(["X-Amz-Target", "X-Custom", "Accept", "X-Amz-Meta"]), HEADER_TEXT, max_size=3
    ),
    token=st.none() | st.text("abcXYZ+/=", min_size=1, max_size=20),
    service=st.sampled_from(["ec2", "sts", "iam"]),
    presign=st.booleans(),
)
def test_accepts_what_botocore_signs(
    *,
    method: str,
    path: str,
    query: str,
    body: bytes,
    extra: dict[str, str],
    token: str | None,
    service: str,
    presign: bool,
) -> None:
    request = sign(
        method=method, url=f"http://stead.example:8773{path}?{query}", body=b"" if presign else body,
        headers=extra, token=token, service=service, presign=presign,
    )  # fmt: skip
    assert verify(request)
    assert not verify(request, secret=SECRET + "x")


def mutants(text: str) -> list[str]:
    """The text with each one of its characters replaced by another, one text for each."""
    return [
        text[:index] + ("b" if character == "a" else "a") + text[index + 1 :] for index, character in enumerate(text)
    ]


@pytest.mark.parametrize("token", [None, "token"])
def test_no_byte_of_a_signed_request_can_be_changed(token: str | None) -> None:
    request = sign(url="http://stead.example/some/path?A=b&C=d", headers={"X-Amz-Target": "T.x"}, token=token)
    assert verify(request)
    changes: list[Request] = [changed(request, method=method) for method in mutants(request.method)]
    changes += [changed(request, path=path) for path in mutants(request.path)]
    changes += [changed(request, query=query) for query in mutants(request.query)]
    body = request.body.decode() if isinstance(request.body, bytes) else request.body
    changes += [changed(request, body=text.encode()) for text in mutants(body)]
    signed = {*read_claim(request).signed_headers, "authorization"}
    for name, value in request.headers:
        if name.lower() in signed:
            changes += [with_header(request, name, text) for text in mutants(value)]
            changes.append(with_header(request, name, value + "x"))
            changes.append(with_header(request, name, None))
            changes.append(changed(request, headers=(*request.headers, (name, value))))
    changes.append(changed(request, query=request.query + "&E=f"))
    changes.append(changed(request, body=request.body + b"&E=f"))
    assert len(changes) > 300
    assert [change for change in changes if verify(change)] == []


def test_no_byte_of_a_presigned_url_can_be_changed() -> None:
    request = sign(method="GET", url="http://stead.example/?Action=DescribeInstances&A=b", body=b"", presign=True)
    assert verify(request)
    host = [with_header(request, "Host", text) for text in mutants("stead.example")]
    # A lower-case hexadecimal digit in an escape means the same; no mutant is one, since `a` is not hexadecimal's case.
    queries = [changed(request, query=query) for query in mutants(request.query)]
    accepted = [change.query for change in [*host, *queries] if verify(change)]
    assert [query for query in accepted if decoded(query) != decoded(request.query)] == []


def decoded(query: str) -> str:
    return re.sub("%[0-9a-fA-F]{2}", lambda found: found[0].upper(), query)


def test_an_added_parameter_in_a_presigned_url_is_refused() -> None:
    request = sign(method="GET", url="http://stead.example/?Action=DescribeInstances", body=b"", presign=True)
    assert not verify(changed(request, query=request.query + "&DryRun=true"))
    assert not verify(changed(request, query="DryRun=true&" + request.query))
    assert not verify(changed(request, query=request.query + "&Action=TerminateInstances"))
    assert not verify(changed(request, body=b"InstanceId.1=i-1", method="GET"))
    assert not verify(changed(request, method="POST"))


@pytest.mark.parametrize(
    ("minutes", "accepted"), [(-16, False), (-14.9, True), (0, True), (14.9, True), (15.1, False), (16, False)]
)
def test_clock_window(minutes: float, accepted: bool) -> None:
    assert verify(sign(), now=NOW + timedelta(minutes=minutes)) is accepted


def test_times_out_of_the_window_are_expired() -> None:
    assert reason(sign(), NOW + timedelta(minutes=16)) is Reason.EXPIRED
    assert reason(sign(), NOW - timedelta(minutes=16)) is Reason.EXPIRED


@pytest.mark.parametrize(
    ("expires", "seconds", "accepted"),
    [
        (1, 0, True),
        (1, 2, False),
        (60, 59, True),
        (60, 61, False),
        (MAX_EXPIRES, MAX_EXPIRES - 1, True),
        (60, -960, False),
    ],
)
def test_presigned_urls_live_as_long_as_they_say(expires: int, seconds: int, accepted: bool) -> None:
    request = sign(method="GET", url="http://h/?Action=A", body=b"", presign=True, expires=expires)
    assert verify(request, now=NOW + timedelta(seconds=seconds)) is accepted


@pytest.mark.parametrize("expires", [0, -1, MAX_EXPIRES + 1, 10**30])
def test_presigned_urls_cannot_live_for_ever(expires: int) -> None:
    request = sign(method="GET", url="http://h/?Action=A", body=b"", presign=True, expires=expires)
    assert reason(request) is Reason.INCOMPLETE


GOOD = (
    f"AWS4-HMAC-SHA256 Credential={KEY}/20260506/eu-1/ec2/aws4_request, SignedHeaders=host;x-amz-date, "
    f"Signature={'0' * 64}"
)


@pytest.mark.parametrize(
    "authorization",
    [
        "", "Basic abc", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 ", "AWS4-ECDSA-P256-SHA256 " + GOOD.partition(" ")[2],
        GOOD.replace("Credential=", "Credential"), GOOD.replace("Signature=", "Sig="), GOOD + ", Signature=0", GOOD + ",",
        GOOD.replace("/aws4_request", ""), GOOD.replace("aws4_request", "aws3_request"), GOOD.replace("/ec2/", "//"),
        GOOD.replace("eu-1", "eu/1"), GOOD.replace("host;x", "host,x"), GOOD.replace("host;", "Host;"),
        GOOD.replace("host;", "host;host;"), GOOD.replace("host;", ";"), GOOD.replace("0" * 64, "0" * 63),
        GOOD.replace("0" * 64, "A" * 64), GOOD.replace(KEY, ""), GOOD.replace(KEY, "a b"), GOOD.replace(KEY, "x" * 5000),
        GOOD.replace("eu-1", "e\nu"),
    ],
)  # fmt: skip
def test_malformed_authorizations_are_incomplete(authorization: str) -> None:
    request = with_header(sign(), "Authorization", authorization)
    assert reason(request) is Reason.INCOMPLETE


def test_other_malformed_claims() -> None:
    good = sign()
    assert reason(with_header(good, "Authorization", None)) is Reason.MISSING
    assert reason(with_header(good, "X-Amz-Date", None)) is Reason.INCOMPLETE
    for text in ("", "20260506", "20261306T070809Z", "2026-05-06T07:08:09Z", "20260506T070809+00"):
        assert reason(with_header(good, "X-Amz-Date", text)) is Reason.INCOMPLETE
    assert reason(with_header(good, "X-Amz-Date", "20260507T070809Z")) is Reason.MISMATCH
    assert reason(with_header(good, "X-Amz-Extra", "1")) is Reason.MISMATCH
    twice = changed(good, headers=(*good.headers, ("Authorization", GOOD)))
    assert reason(twice) is Reason.INCOMPLETE
    assert reason(changed(good, query="X-Amz-Signature=0")) is Reason.INCOMPLETE
    assert reason(changed(good, query="AWSAccessKeyId=A&Signature=B", headers=())) is Reason.INCOMPLETE


def test_host_must_be_signed() -> None:
    request = sign()
    authorization = request.header("authorization") or ""
    assert reason(with_header(request, "Authorization", authorization.replace("host;", ""))) is Reason.MISMATCH


def test_the_date_header_may_stand_for_x_amz_date() -> None:
    """As clients sign that predate X-Amz-Date; botocore itself does so when a Date header is there."""
    request = sign(headers={"Date": "Wed, 06 May 2026 07:08:09 GMT"})
    assert "x-amz-date" not in set(request.header_names())
    assert verify(request)
    assert not verify(with_header(request, "Date", "Wed, 06 May 2026 07:08:10 GMT"))
    assert reason(with_header(request, "Date", "soon")) is Reason.INCOMPLETE


def test_declared_body_hash_must_be_true() -> None:
    body = b"Action=DescribeInstances"
    right = hashlib.sha256(body).hexdigest()
    assert verify(sign(body=body, headers={"X-Amz-Content-SHA256": right}))
    assert not verify(sign(body=body, headers={"X-Amz-Content-SHA256": "0" * 64}))
    unsigned = sign(body=body, headers={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})
    assert not verify(unsigned)
    assert verify(unsigned, allow_unsigned_payload=True)
    assert verify(changed(unsigned, body=b"other"), allow_unsigned_payload=True)
    assert not verify(sign(body=body, headers={"X-Amz-Content-SHA256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"}))


def test_header_order_case_and_spacing_do_not_matter() -> None:
    request = sign(headers={"X-Amz-Target": "a  b"})
    assert verify(changed(request, headers=tuple(reversed(request.headers))))
    assert verify(changed(request, headers=tuple((name.upper(), value) for name, value in request.headers)))
    assert verify(with_header(request, "X-Amz-Target", " a b  "))
    assert not verify(with_header(request, "X-Amz-Target", "ab"))
    tight = (request.header("authorization") or "").replace(", ", ",")
    assert verify(with_header(request, "Authorization", tight))
    reordered = re.sub(
        "SignedHeaders=([^,]*)", lambda found: "SignedHeaders=" + ";".join(reversed(found[1].split(";"))), tight
    )
    assert verify(with_header(request, "Authorization", reordered))


def test_a_presigned_url_may_name_signed_headers_in_capitals() -> None:
    """As version 1 of the SDK for Ruby does; it signs their lower-case names."""
    request = sign(method="GET", url="http://h/?Action=A", body=b"", presign=True)
    named = changed(request, query=re.sub("(SignedHeaders=[^&]*)host", r"\1Host", request.query))
    assert named.query != request.query
    assert not verify(named)  # as its text is signed, too
    right = signature.sign(named, read_claim(named), SECRET, hashlib.sha256(b"").hexdigest())
    assert verify(changed(named, query=re.sub("Signature=[0-9a-f]+", f"Signature={right}", named.query)))


def test_query_order_and_escapes_do_not_matter() -> None:
    request = sign(url="http://stead.example/?b=%2Fx&a=1&a=0&c")
    for query in ("c&a=0&b=%2fx&a=1", "a=%31&a=0&b=/x&c="):
        assert verify(changed(request, query=query))
    assert not verify(changed(request, query="a=1&b=%2Fx&c"))


@given(
    st.lists(st.tuples(st.sampled_from(["Authorization", "X-Amz-Date", "Host", "Date", "X-Amz-Security-Token"]), st.text(max_size=80)), max_size=5),
    st.text(max_size=80),
    st.sampled_from(["", "X-Amz-Algorithm=AWS4-HMAC-SHA256&", "X-Amz-Signature=0&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires="]),
)  # fmt: skip
def test_any_request_is_refused_not_crashed_on(headers: list[tuple[str, str]], query: str, start: str) -> None:
    assert verify(Request("GET", "/", start + query, tuple(headers), b"", "127.0.0.1")) is False


def test_claims_of_any_region_are_accepted() -> None:
    assert verify(sign(region="us-east-1"))
    assert verify(sign(region="mars_north-7"))


def testsigning_keys_are_kept_in_bounds() -> None:
    assert signature.signing_key.cache_info().maxsize == 4096
