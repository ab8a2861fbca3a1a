"""The page with the certificate that messages of topics are verified with."""

import asyncio

from aiohttp import web

from stead_controller.secrets.message_signer import MessageSigner


async def serve(signer: MessageSigner, http: web.BaseRequest) -> web.StreamResponse:
    """Answer with the certificate, at its own path alone."""
    path = await asyncio.to_thread(lambda: signer.path)
    if http.method not in ("GET", "HEAD") or http.path != path:
        return web.Response(status=404)
    return web.Response(body=signer.certificate_pem, content_type="application/x-pem-file")
