"""
The OpenSSL context of the TLS server, built from its configuration and the files of certificates.

Messages of OpenSSL about invalid input are not repeated: texts like "no start line" do not help, and the input may be a key.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from attrs import evolve
from cryptography import x509
from OpenSSL import SSL, crypto
from twisted.python.randbytes import secureRandom
from txaio.tx import make_logger

from mpp.core.files import UnreadableFile, read_small
from mpp.core.model import MIB
from mpp.security.web_config.ciphers import DEFAULT_CIPHERS
from mpp.security.web_config.sections import WebConfigError
from mpp.security.web_config.values import PEMSource, TLSServer
from mpp.wire.tuned.ecdh_groups import set_curves

_log = make_logger()

_VERSIONS = {2: SSL.TLS1_2_VERSION, 3: SSL.TLS1_3_VERSION}
_BAD = (SSL.Error, crypto.Error, ValueError, TypeError)
# The errors of `cryptography` for a certificate that only OpenSSL can read; not all of them are a ValueError.
_UNREADABLE = (ValueError, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)


def with_contents(tls: TLSServer) -> TLSServer:
    """
    Return the TLS configuration with the contents of all files that it names, so that `make_context` does not read them.

    :raise WebConfigError: a file cannot be read.
    """
    certificate, key, authority = (
        evolve(source, content=_read(source)) if source else source for source in (tls.certificate, tls.key, tls.client_ca)
    )
    return evolve(tls, certificate=certificate, key=key, client_ca=authority)


def make_context(tls: TLSServer) -> SSL.Context:
    """
    Build the OpenSSL context that all connections share until the configuration changes.

    :raise WebConfigError: a file cannot be read, or its content is invalid.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(_VERSIONS[tls.min_version])
    context.set_max_proto_version(_VERSIONS[tls.max_version])
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    if tls.server_prefers:
        context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE)
    # Clients keep their sessions as tickets. OpenSSL needs a session id to resume the session of a client with a certificate.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_session_id(secureRandom(16))
    context.set_cipher_list(":".join(tls.ciphers or DEFAULT_CIPHERS).encode("ascii"))
    if tls.curves and not set_curves(context, tls.curves):
        raise WebConfigError("tls_server_config.curve_preferences: this OpenSSL supports none of these curves")
    _show_certificate(context, tls)
    _ask_clients(context, tls)
    return context


def _show_certificate(context: SSL.Context, tls: TLSServer) -> None:
    own, *chain = _certificates(tls.certificate)
    with _blaming(tls.certificate):
        context.use_certificate(own)
        for each in chain:
            context.add_extra_chain_cert(each)
    try:
        # The empty passphrase keeps OpenSSL from asking for one on the terminal.
        key: Any = crypto.load_privatekey(crypto.FILETYPE_PEM, _read(tls.key), b"").to_cryptography_key()
        context.use_privatekey(key)
        context.check_privatekey()
    except _BAD:
        raise _wrong(tls.key, "is not a private key in PEM without a passphrase, or not that of the certificate") from None


def _ask_clients(context: SSL.Context, tls: TLSServer) -> None:
    if tls.client_auth.word == "NoClientCert":
        return
    mode = SSL.VERIFY_PEER | (SSL.VERIFY_FAIL_IF_NO_PEER_CERT if tls.client_auth.required else 0)
    verified, allowed = tls.client_auth.verified, tls.allowed_sans

    def accepts(connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
        if verified and not ok:
            # The number is the error code of `openssl verify`.
            text = "client certificate {name} rejected: verification error {error} of OpenSSL"
            _log.debug(text, name=_shown(certificate), error=error)
            return False
        if depth > 0 or allowed is None or not _names_of(certificate).isdisjoint(allowed):
            return True
        _log.debug("client certificate {name} rejected: it has no name in client_allowed_sans", name=_shown(certificate))
        return False

    context.set_verify(mode, accepts)
    store = context.get_cert_store()
    if not tls.client_ca:
        context.set_default_verify_paths()
    elif store is not None:
        trusted = _certificates(tls.client_ca)
        with _blaming(tls.client_ca):
            for each in trusted:
                store.add_cert(crypto.X509.from_cryptography(each))
                context.add_client_ca(each)


def _shown(certificate: crypto.X509) -> str:
    # An exception here would reach the reactor through the handshake, and any client could cause tracebacks in the log.
    try:
        return certificate.to_cryptography().subject.rfc4514_string()[:200]
    except _UNREADABLE:
        return "(unreadable)"


def _names_of(certificate: crypto.X509) -> set[str]:
    try:
        return names_of(certificate.to_cryptography())
    except _UNREADABLE:
        return set()


def names_of(certificate: x509.Certificate) -> set[str]:
    """Return the subject alternative names of a certificate (DNS, e-mail, IP, URI); empty if they cannot be read."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, *_UNREADABLE):
        return set()
    kinds = (x509.DNSName, x509.RFC822Name, x509.IPAddress, x509.UniformResourceIdentifier)
    return {str(name.value) for name in extension.value if isinstance(name, kinds)}


def _certificates(source: PEMSource) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read(source))
    except WebConfigError:
        raise
    except _BAD:
        raise _wrong(source, "is not a certificate in PEM") from None


@contextlib.contextmanager
def _blaming(source: PEMSource) -> Iterator[None]:
    try:
        yield
    except _BAD:
        raise _wrong(source, "has a certificate that OpenSSL rejects; its key may be too short") from None


def _read(source: PEMSource) -> bytes:
    if source.content is not None:
        return source.content
    if not source.path:
        return source.text.encode()
    try:
        return read_small(source.path, MIB, "a PEM file")
    except UnreadableFile as error:
        raise _wrong(source, f"cannot be read ({error})") from None


def _wrong(source: PEMSource, problem: str) -> WebConfigError:
    what = f"{os.path.normpath(source.path)!r} " if source.path else "the text "
    return WebConfigError(f"tls_server_config.{source.key}: {what}{problem}", source.line or None)
