"""Headers that a URL says in its query."""

from stead_controller.aws.protocol.message import Request
from stead_controller.object_store.signed_url import with_headers


def headers_of(query, *headers):
    request = with_headers(Request("PUT", "/b/k", query, headers, b"", "192.0.2.1"))
    return {name: request.header_values(name) for name in request.header_names()}


def test_what_sdks_move_into_a_url_is_a_header():
    query = "X-Amz-Date=x&X-Amz-Signature=x&x-amz-meta-q=r%20s&X-Amz-Tagging=a%3Db&x-id=PutObject"
    assert headers_of(query) == {"x-amz-meta-q": ["r s"], "x-amz-tagging": ["a=b"]}


def test_a_header_is_not_there_twice():
    assert headers_of("x-amz-acl=public-read", ("X-Amz-Acl", "private")) == {"x-amz-acl": ["private"]}
    assert headers_of("x-amz-meta-a=1&x-amz-meta-a=2") == {"x-amz-meta-a": ["1", "2"]}


def test_a_checksum_of_what_is_not_known_does_not_count():
    assert headers_of("x-amz-checksum-crc32=AAAAAA%3D%3D&x-amz-sdk-checksum-algorithm=CRC32") == {}
