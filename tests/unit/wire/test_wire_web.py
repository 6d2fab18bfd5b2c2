"""Tests of `mpp.wire.downstream.web_channel`: pages in twisted.web's way."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from twisted.web import resource, server

from mpp.wire.downstream.channel import ProxyChannel
from mpp.wire.downstream.web_channel import WebChannel
from tests.wire_support import ServerSide


def get(target: bytes, *fields: bytes) -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: a\r\n" % target + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


class Page(resource.Resource):
    """A page in twisted.web's way."""

    isLeaf = True

    def render_GET(self, request: server.Request) -> bytes:
        request.setHeader(b"content-type", b"text/plain")
        if request.path == b"/chunks":
            request.write(b"one")
            request.write(b"two")
            request.finish()
            return server.NOT_DONE_YET  # type: ignore[return-value]
        return b"page"


class WebRequest(server.Request):
    """Shows twisted.web's way: what a request class has to do with what the channel gives it."""

    def __init__(self, channel: ProxyChannel) -> None:
        channel.site = server.Site(Page())
        super().__init__(WebChannel(channel))

    def received(self, method: bytes, target: bytes, version: bytes, headers: Any, body: bytes) -> None:
        for name, value in headers:
            self.requestHeaders.addRawHeader(name, value)
        self.gotLength(len(body))
        self.handleContentChunk(body)
        self.requestReceived(method, target, b"HTTP/" + version)


class WebTests(SynchronousTestCase):
    """Answers in twisted.web's way."""

    def receive(self, data: bytes) -> ServerSide:
        side = ServerSide()
        side.channel._request_factory = WebRequest
        side.receive(data)
        return side

    def test_request_has_both_addresses_and_its_security(self) -> None:
        """A request knows both ends' addresses, and whether it is secure."""
        side = ServerSide()
        web = WebChannel(side.channel)
        self.assertEqual((web.getPeer(), web.getHost()), (side.transport.getPeer(), side.transport.getHost()))
        self.assertFalse(web.isSecure())

    def test_resource_of_twisted_web_is_rendered(self) -> None:
        """A resource of twisted.web is rendered, and the connection lives on."""
        side = self.receive(get(b"/a") + get(b"/b"))
        self.assertEqual(side.sent.count(b"\r\n\r\npage"), 2)
        self.assertIn(b"Content-Length: 4\r\n", side.sent)
        self.assertNotIn(b"Connection:", side.sent)
        self.assertFalse(side.transport.disconnecting)

    def test_page_of_unknown_length_is_chunked(self) -> None:
        """A page of unknown length is sent in chunks."""
        side = self.receive(get(b"/chunks"))
        self.assertTrue(side.sent.endswith(b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"))

    def test_last_response_says_close(self) -> None:
        """An answer that is the connection's last says so."""
        for data in (get(b"/", b"Connection: close"), b"GET /chunks HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"):
            side = self.receive(data)
            self.assertIn(b"Connection: close\r\n", side.sent)
            self.assertTrue(side.transport.disconnecting)
