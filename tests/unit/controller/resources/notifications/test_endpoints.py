"""Which URLs may subscribe, and which addresses are connected to for them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead_controller.errors import InvalidParameter, Unsupported
from stead_controller.resources.notifications import endpoints

INSIDE = [
    "127.0.0.1",
    "0.0.0.0",
    "10.1.2.3",
    "172.31.0.5",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd00:ec2::254",
    "ff0e::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::7f00:1",
    "2002:7f00:1::",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",
    "localhost",
    "",
]


@pytest.mark.parametrize("address", INSIDE)
def test_nothing_inside_is_reached(address: str) -> None:
    assert not endpoints.may_connect(address, (), plain=False)
    assert not endpoints.may_connect(address, ("203.0.113.0/24",), plain=False)


@pytest.mark.parametrize("address", ["1.1.1.1", "::ffff:1.1.1.1", "2606:4700::1111"])
def test_public_addresses_are_reached_but_not_by_plain_http(address: str) -> None:
    assert endpoints.may_connect(address, (), plain=False)
    assert not endpoints.may_connect(address, (), plain=True)


@pytest.mark.parametrize("plain", [False, True])
def test_networks_that_the_operator_names_are_reached(plain: bool) -> None:
    networks = ("10.0.0.0/8", "fd00::/8")
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "fd00::1"):
        assert endpoints.may_connect(address, networks, plain=plain)
    assert not endpoints.may_connect("192.168.0.1", networks, plain=plain)


@given(st.ip_addresses(v=4), st.booleans())
def test_an_address_is_the_same_in_both_families(address: object, plain: bool) -> None:
    mapped = endpoints.may_connect(f"::ffff:{address}", ("10.0.0.0/8",), plain=plain)
    assert mapped == endpoints.may_connect(str(address), ("10.0.0.0/8",), plain=plain)


@pytest.mark.parametrize("url", ["https://x.example", "https://x.example:8443/a?b=c", "https://[2606:4700::1111]/"])
def test_good_urls(url: str) -> None:
    endpoints.check("https", url, plain=False)


@pytest.mark.parametrize(
    "url",
    ["", "x.example", "ftp://x.example", "https://", "https://x.example/\n", "https://x.example/a b", "https://[::"],
)
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(InvalidParameter):
        endpoints.check("https", url, plain=True)


def test_what_is_not_supported() -> None:
    whose = ("https://user@x.example", "https://:password@x.example")
    for protocol, url in (("lambda", "arn"), ("http", "http://x.example"), *(("https", one) for one in whose)):
        with pytest.raises(Unsupported):
            endpoints.check(protocol, url, plain=False)
    endpoints.check("http", "http://x.example", plain=True)


def test_a_url_may_have_2048_characters() -> None:
    url = "https://x.example/".ljust(2048, "a")
    endpoints.check("https", url, plain=False)
    with pytest.raises(InvalidParameter):
        endpoints.check("https", url + "a", plain=False)


@given(st.text())
def test_any_text_is_judged(text: str) -> None:
    try:
        endpoints.check("https", text, plain=False)
    except (InvalidParameter, Unsupported):
        return
    assert text.lower().startswith("https://")
