"""A path means one object of one bucket, or nothing."""

import posixpath
from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stead_controller.errors import BadRequest
from stead_controller.object_store import addressing
from stead_controller.object_store.addressing import Address, read_address, read_copy_source

PIECES = st.sampled_from(
    [
        "a",
        "b",
        "mine",
        "..",
        ".",
        "",
        "/",
        "%2F",
        "%2f",
        "%2e",
        "%2E%2e",
        "%00",
        "%5C",
        "\\",
        "%252e",
        "é",
        "%C3%A9",
        "%ff",
        "?",
        ".uploads",
        "x.versions",
    ]
)


@given(pieces=st.lists(PIECES, max_size=8))
@example(["mine", "/", "..", "/", "other", "/", "key"])
@example(["mine", "/", "%2E%2e", "%2F", "other"])
@example(["mine", "/", "a", "/", "/", "b"])
@example(["..", "/", "mine"])
def test_no_path_leaves_its_bucket(pieces):
    path = "/" + "".join(pieces)
    try:
        found = read_address("127.0.0.1:8773", path, "localhost")
    except BadRequest:
        return
    if not found.key:
        return
    # What goes on has one meaning, also to a server that resolves steps before or after it decodes.
    sent = addressing.path_of("backend", found.key)
    for seen in (sent, unquote(sent), unquote(unquote(sent)) if "%25" not in sent else sent):
        resolved = posixpath.normpath(seen) + ("/" if seen.endswith("/") else "")
        assert resolved == seen
        assert resolved.startswith("/backend/")
    assert "\0" not in found.key
    assert not found.key.startswith(".uploads/")


@given(key=st.text(min_size=1, max_size=30))
def test_a_key_goes_through_unchanged(key):
    path = f"/bucket/{quote(key, safe='/', errors='surrogatepass')}"
    try:
        found = read_address("127.0.0.1", path, "localhost")
    except BadRequest:
        return
    assert found == Address("bucket", key)
    assert unquote(addressing.path_of("b", key)) == f"/b/{key}"


@pytest.mark.parametrize(
    ("host", "path", "found"),
    [
        ("127.0.0.1:8773", "/", Address()),
        ("127.0.0.1:8773", "/bucket", Address("bucket")),
        ("127.0.0.1:8773", "/bucket/", Address("bucket")),
        ("127.0.0.1", "/bucket/folder/", Address("bucket", "folder/")),
        ("my.bucket.localhost:8773", "/a/b", Address("my.bucket", "a/b")),
        ("my.bucket.s3.us-east-1.localhost", "/a%20b", Address("my.bucket", "a b")),
        ("s3.localhost", "/bucket/k", Address("bucket", "k")),
        ("localhost:8773", "/bucket/k", Address("bucket", "k")),
        ("bucket.example.com", "/bucket2/k", Address("bucket2", "k")),
    ],
)
def test_path_and_host_styles(host, path, found):
    assert read_address(host, path, "localhost") == found


@pytest.mark.parametrize(
    "key", ["a//b", "/a", "a/./b", "../a", "a/..", ".", "a\0b", "a\nb", ".uploads/1/1.part", "k.versions/v1", "é" * 513]
)
def test_what_is_no_plain_name(key):
    with pytest.raises(BadRequest):
        addressing.check_key(key)


@pytest.mark.parametrize(
    "prefix", ["../", "a/../b", "//", "a//b", "/a", "..", "a/..", ".uploads/", "a\0", "k.versions/", "a/k.versions/v"]
)
def test_prefixes_that_are_paths(prefix):
    with pytest.raises(BadRequest):
        addressing.check_prefix("prefix", prefix)


@pytest.mark.parametrize("prefix", ["", "a", "a/", "a/b", ".hidden", "a/..b", "a.b/c", ".uploadsx", "a/k.versions"])
def test_prefixes_of_keys(prefix):
    addressing.check_prefix("prefix", prefix)


@pytest.mark.parametrize("token", ["../x", "a/../b", "/a", "a b", "a\0", "..", "x" * 5000])
def test_tokens_that_are_paths(token):
    with pytest.raises(BadRequest):
        addressing.check_token("uploadId", token)


@pytest.mark.parametrize(
    "name", ["ab", "A-bucket", "a..b", "-ab", "ab-", "192.168.1.1", "xn--abc", "abc-s3alias", "a_b", "x" * 64, "ab/cd"]
)
def test_names_that_s3_does_not_take(name):
    with pytest.raises(BadRequest):
        addressing.check_bucket_name(name)


@pytest.mark.parametrize("name", ["abc", "a.b.c", "a-b", "1bucket", "x" * 63])
def test_names_that_s3_takes(name):
    addressing.check_bucket_name(name)


@pytest.mark.parametrize("before", ["", "/", "%2F"])
def test_copy_sources_as_clients_encode_them(before):
    """Go's QueryEscape, JavaScript's encodeURIComponent and Python's quote write one path in three ways."""
    for encoded in ("b%2Fa%2Fb+c%2Bd%25", "b%2fa%2fb%20c%2Bd%25", "b/a/b%20c%2Bd%25"):
        assert read_copy_source(before + encoded) == Address("b", "a/b c+d%")
    for nothing in ("b", "b/", "b%2F"):
        with pytest.raises(BadRequest) as refusal:
            read_copy_source(before + nothing)
        assert refusal.value.code == "InvalidArgument"


@pytest.mark.parametrize(
    ("before", "bucket"),
    [
        ("bucket.", ""),
        ("mine.bucket.", "mine"),
        ("my.own.bucket.bucket.", "my.own.bucket"),
        ("control.", ""),
        ("111111111111.control.", "111111111111"),
        ("", ""),
    ],
)
@pytest.mark.parametrize("zone", ["", "-us-east-1a"])
def test_the_bucket_before_the_name_of_an_endpoint(before, bucket, zone):
    host = f"{before}vpce-0123456789abcdef0-01ab23cd{zone}.s3.us-east-1.vpce.amazonaws.com:443"
    assert addressing.bucket_of_host(host, ("localhost", "s3.us-east-1.amazonaws.com")) == bucket
