"""The signature of a pack: an in-toto Statement v1 over the SHA-256 of every file, in a DSSE envelope, by Ed25519.

Envelope and statement have one permitted way to be written each, so that a changed byte is found also where it
would change nothing that was signed: in white space, in the padding of base64, in a field that nobody asks for.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from securesystemslib import dsse
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, Signature, SSlibKey  # type: ignore[attr-defined]  # no __all__

from metavox_collector.proof import canonical, keys
from metavox_collector.proof.canonical import NotCanonical

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:metavox:release:1"
"""What the predicate holds is declared in docs/decisions/0043."""
_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_DIGITS = frozenset("0123456789abcdef")


class Malformed(ValueError):
    """The file is no envelope as this software writes it."""


@dataclass(frozen=True)
class Sealed:
    """An envelope that is well formed. Nothing says yet who made it.

    Attributes:
        payload: The statement's bytes, which are signed.
        key_id: Which key is said to have signed.
        signature: 64 bytes.
        digests: Hex SHA-256 by the path of every other file of the pack.
        predicate: The facts of the release.
    """

    payload: bytes
    key_id: str
    signature: bytes
    digests: Mapping[str, str]
    predicate: Mapping[str, Any]

    def is_signed_by(self, key: Ed25519PublicKey) -> bool:
        """Whether this key made the signature, and is the one that the envelope names."""
        envelope = dsse.Envelope(
            self.payload, _PAYLOAD_TYPE, {self.key_id: Signature(self.key_id, self.signature.hex())}
        )
        try:
            envelope.verify([SSlibKey.from_crypto(key, keyid=keys.key_id(key))], threshold=1)
        except VerificationError:
            return False
        return True


def seal(files: Mapping[str, bytes], predicate: Mapping[str, Any], key: Ed25519PrivateKey) -> bytes:
    """The envelope's bytes for every other file of a pack and the facts of its release."""
    subject = [{"digest": {"sha256": digest(files[name])}, "name": name} for name in sorted(files)]
    statement = {
        "_type": STATEMENT_TYPE,
        "predicate": predicate,
        "predicateType": PREDICATE_TYPE,
        "subject": subject,
    }
    envelope = dsse.Envelope(canonical.compact(statement), _PAYLOAD_TYPE, {})
    named = SSlibKey.from_crypto(key.public_key(), keyid=keys.key_id(key.public_key()))
    signature = envelope.sign(CryptoSigner(key, named))
    return _written(envelope.payload, signature.keyid, bytes.fromhex(signature.signature))


def opened(content: bytes) -> Sealed:
    """Read an envelope, every byte of it; raises Malformed. Whether its signature is good is not asked here."""
    try:
        envelope = canonical.read_legible(content)
        (signature,) = envelope["signatures"]
        payload, signed = _decoded(envelope["payload"]), _decoded(signature["sig"])
        key_id = signature["keyid"]
        if content != _written(payload, key_id, signed):
            raise Malformed("it holds something that does not belong there")
        return _read(payload, key_id, signed)
    except NotCanonical as error:
        raise Malformed(str(error)) from None
    except (KeyError, TypeError, AttributeError, binascii.Error, ValueError) as error:
        if isinstance(error, Malformed):
            raise
        raise Malformed("it is no DSSE envelope with one signature") from None


def digest(content: bytes) -> str:
    """Hex SHA-256."""
    return hashlib.sha256(content).hexdigest()


def _read(payload: bytes, key_id: object, signature: bytes) -> Sealed:
    statement = canonical.read_compact(payload)
    if not isinstance(statement, dict) or set(statement) != {"_type", "predicate", "predicateType", "subject"}:
        raise Malformed("its payload is no in-toto statement")
    if (statement["_type"], statement["predicateType"]) != (STATEMENT_TYPE, PREDICATE_TYPE):
        raise Malformed("its payload is a statement of another type than a release's")
    if not isinstance(key_id, str) or not isinstance(statement["predicate"], dict):
        raise Malformed("its payload is no statement about a release")
    digests = {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]}
    if len(digests) != len(statement["subject"]) or not all(map(_is_digest, digests.values())):
        raise Malformed("its statement names a file twice, or without a SHA-256")
    return Sealed(payload, key_id, signature, digests, statement["predicate"])


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= _DIGITS


def _written(payload: bytes, key_id: object, signature: bytes) -> bytes:
    encoded = base64.b64encode(payload).decode()
    signatures = [{"keyid": key_id, "sig": base64.b64encode(signature).decode()}]
    return canonical.legible({"payload": encoded, "payloadType": _PAYLOAD_TYPE, "signatures": signatures})


def _decoded(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
