"""Whether a server encrypts is found out once, by what it answers to an upload that is begun and given up."""

import pytest
from aiohttp import web

from stead_controller.object_store.backend import Backend, BackendError, ServerAddress

BEGUN = "<InitiateMultipartUploadResult><UploadId>one</UploadId></InitiateMultipartUploadResult>"
ENCRYPTED = {"x-amz-server-side-encryption": "AES256"}


class There:
    """A server at a place."""

    def __init__(self, place):
        self._place = place

    async def place(self):
        return self._place

    def close(self):
        """There is nothing to release."""


async def serve(answers, seen, of_parts=None):
    """Answer on the loopback, and note what is asked; `of_parts` are headers of answers to parts."""

    async def handle(request):
        seen.append((request.method, request.path, request.headers.get("x-amz-server-side-encryption")))
        status, body, headers = answers if request.method == "POST" else (204, "", {})
        if request.method == "PUT":
            headers = of_parts or {}
        return web.Response(status=status, text=body, headers=headers)

    server = web.ServerRunner(web.Server(handle))
    await server.setup()
    site = web.TCPSite(server, "127.0.0.1", 0)
    await site.start()
    return server, site._server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(("of_parts", "expected"), [(ENCRYPTED, True), ({}, False)])
async def test_a_server_may_say_it_of_parts_alone(of_parts, expected):
    seen = []
    server, port = await serve((200, BEGUN, {}), seen, of_parts)
    backend = Backend(There(ServerAddress(f"http://127.0.0.1:{port}", "us-east-1", "key", "secret")))
    try:
        assert await backend.encrypts("/bucket") is expected
    finally:
        await backend.close()
        await server.cleanup()
    assert [method for method, _, _ in seen] == ["POST", "PUT", "DELETE"]


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ((200, BEGUN, ENCRYPTED), True),
        ((200, BEGUN, {}), False),
        ((200, BEGUN, {"x-amz-server-side-encryption": "aws:kms"}), False),
        ((501, "<Error><Code>NotImplemented</Code></Error>", {}), False),
        ((400, "<Error><Code>InvalidRequest</Code></Error>", {}), False),
    ],
)
async def test_a_server_is_tried_once(answers, expected):
    seen = []
    server, port = await serve(answers, seen)
    backend = Backend(There(ServerAddress(f"http://127.0.0.1:{port}", "us-east-1", "key", "secret")))
    try:
        assert await backend.encrypts("/bucket") is expected
        asked = list(seen)
        assert await backend.encrypts("/another") is expected
    finally:
        await backend.close()
        await server.cleanup()
    assert asked == seen
    assert asked[0] == ("POST", "/bucket/encryption-probe", "AES256")
    assert [method for method, _, _ in asked[1:]] == (["PUT", "DELETE"] if answers[0] == 200 else [])


@pytest.mark.parametrize("status", [403, 404, 500, 503])
async def test_trouble_is_no_answer(status):
    seen = []
    server, port = await serve((status, "", {}), seen)
    backend = Backend(There(ServerAddress(f"http://127.0.0.1:{port}", "us-east-1", "key", "secret")))
    try:
        for _ in range(2):
            with pytest.raises(BackendError):
                await backend.encrypts("/bucket")
    finally:
        await backend.close()
        await server.cleanup()
    assert len(seen) == 2


async def test_one_that_says_is_not_asked():
    for known in (True, False):
        place = ServerAddress("http://127.0.0.1:1", "us-east-1", "key", "secret", encrypts=known)
        assert await Backend(There(place)).encrypts("/bucket") is known
