"""A CORS configuration becomes what browsers are answered."""

import pytest

from stead_controller.errors import BadRequest
from stead_controller.object_store import cors
from stead_controller.object_store.cors import CorsRule, headers_for

ANY = CorsRule(("*",), ("GET", "HEAD"))
OWN = CorsRule(
    ("https://*.example.com",), ("PUT",), ("x-amz-*", "Content-Type"), ("ETag", "x-amz-version-id"), "own", 600
)
NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


def document(rule):
    return f"<CORSConfiguration {NAMESPACE}><CORSRule>{rule}</CORSRule></CORSConfiguration>".encode()


def test_what_was_written_is_read():
    rules = (ANY, OWN)
    assert cors.read(cors.write(rules)) == rules
    assert cors.read(document("<AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod>")) == (
        CorsRule(("*",), ("GET",)),
    )


ORIGIN, METHOD = "<AllowedOrigin>*</AllowedOrigin>", "<AllowedMethod>GET</AllowedMethod>"


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ("", "MalformedXML"),
        (ORIGIN, "MalformedXML"),
        (METHOD, "MalformedXML"),
        (ORIGIN + METHOD + "<Unknown/>", "MalformedXML"),
        (ORIGIN + METHOD + "<AllowedHeader></AllowedHeader>", "MalformedXML"),
        (ORIGIN + METHOD + "<MaxAgeSeconds>soon</MaxAgeSeconds>", "MalformedXML"),
        (ORIGIN + METHOD + "<MaxAgeSeconds>99999999999</MaxAgeSeconds>", "MalformedXML"),
        (ORIGIN + METHOD + "<ExposeHeader>a\nb</ExposeHeader>", "MalformedXML"),
        (ORIGIN + "<AllowedMethod>PATCH</AllowedMethod>", "InvalidRequest"),
        ("<AllowedOrigin>*.*</AllowedOrigin>" + METHOD, "InvalidRequest"),
        (ORIGIN + METHOD + "<AllowedHeader>**</AllowedHeader>", "InvalidRequest"),
        (ORIGIN + METHOD + "<ExposeHeader>x-*</ExposeHeader>", "InvalidRequest"),
    ],
)
def test_what_is_no_configuration(rule, code):
    with pytest.raises(BadRequest) as refusal:
        cors.read(document(rule))
    assert refusal.value.code == code


def test_a_configuration_has_between_one_and_a_hundred_rules():
    rule = f"<CORSRule>{ORIGIN}{METHOD}</CORSRule>"
    for count in (0, 101):
        with pytest.raises(BadRequest):
            cors.read(f"<CORSConfiguration>{rule * count}</CORSConfiguration>".encode())
    assert len(cors.read(f"<CORSConfiguration>{rule * 100}</CORSConfiguration>".encode())) == 100


def test_the_first_rule_that_allows_it_is_answered():
    got = headers_for((OWN, ANY), "https://a.example.com", "GET", [])
    assert got["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in got
    put = headers_for((OWN, ANY), "https://a.example.com", "PUT", ["X-Amz-Date", "content-type"])
    assert put == {
        "access-control-allow-origin": "https://a.example.com",
        "access-control-allow-methods": "PUT",
        "access-control-allow-credentials": "true",
        "access-control-allow-headers": "x-amz-date, content-type",
        "access-control-expose-headers": "ETag, x-amz-version-id",
        "access-control-max-age": "600",
        "vary": "Origin, Access-Control-Request-Headers, Access-Control-Request-Method",
    }


@pytest.mark.parametrize(
    ("origin", "method", "asked"),
    [
        ("https://example.com", "PUT", []),
        ("http://a.example.com", "PUT", []),
        ("https://a.example.com.evil", "PUT", []),
        ("https://a.example.com", "DELETE", []),
        ("https://a.example.com", "PUT", ["authorization"]),
        ("https://a.example.com", "", []),
    ],
)
def test_what_no_rule_allows(origin, method, asked):
    assert headers_for((OWN,), origin, method, asked) == {}


def test_a_wildcard_stands_for_no_part_twice():
    rule = CorsRule(("https://ab*ba",), ("GET",))
    assert headers_for((rule,), "https://abba", "GET", [])
    assert not headers_for((rule,), "https://aba", "GET", [])
