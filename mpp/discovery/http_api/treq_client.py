"""
treq's client as `mpp.discovery.http_api.json_api` uses it: without cookies, without decompression, with any host in a URL.
"""

from __future__ import annotations

from http.cookiejar import DefaultCookiePolicy

from hyperlink import EncodedURL
from treq.client import HTTPClient
from treq.cookies import IndexableCookieJar
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

CODING = "x-mpp-content-encoding"
"""The header of a response that has the value of its ``Content-Encoding``, see `_UndecodedAgent`."""


def treq_client(agent: IAgent) -> HTTPClient:
    """Return a client that sends its requests through an agent."""
    # This policy accepts no cookie of any kind.
    return HTTPClient(_UndecodedAgent(agent), IndexableCookieJar(DefaultCookiePolicy(netscape=False)), _BytesProducer)


class LiteralURL(EncodedURL):
    """
    A URL that is ASCII already, and whose host is requested as it is.

    treq would encode every host as an international name (IDNA 2008), which fails for IPv6 addresses
    (https://github.com/python-hyper/hyperlink/issues/68), and for the names that `mpp.discovery.http_api.any_host` describes.
    """

    def to_uri(self) -> LiteralURL:
        """Return the URL itself."""
        return self


@implementer(IAgent)
class _UndecodedAgent:
    """
    An agent that hides the content coding of responses from treq's client, which would decompress each layer without any limit.
    `mpp.discovery.http_api.content` decodes them.
    """

    def __init__(self, agent: IAgent) -> None:
        self._agent = agent

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        """Send a request without the ``Accept-Encoding`` that treq's client added behind the caller's own, see `IAgent`."""
        headers = Headers() if headers is None else headers.copy()
        headers.setRawHeaders("Accept-Encoding", headers.getRawHeaders("Accept-Encoding", [])[:-1])
        return self._agent.request(method, uri, headers, bodyProducer).addCallback(_undecoded)


def _undecoded(response: IResponse) -> IResponse:
    response.headers.setRawHeaders(CODING, response.headers.getRawHeaders("content-encoding", []))
    response.headers.removeHeader("content-encoding")
    return response


@implementer(IBodyProducer)
class _BytesProducer:
    """
    A request body that is sent at once.

    Twisted's FileBodyProducer, treq's default, sends it piece by piece in turns of the global reactor instead.
    """

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(self._body)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write the whole body to the consumer."""
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Do nothing, because the body has been sent."""

    def resumeProducing(self) -> None:
        """Do nothing, because the body has been sent."""

    def stopProducing(self) -> None:
        """Do nothing, because the body has been sent."""
