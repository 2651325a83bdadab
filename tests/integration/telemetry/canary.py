"""Secrets that nothing else looks like, and the hunt for them: plain, cut, folded, reversed, encoded or hashed."""

from __future__ import annotations

import base64
import contextlib
import functools
import gzip
import hashlib
import html
import json
import re
import unicodedata
import zlib
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import quote, quote_plus

from hypothesis import strategies as st

_SYMBOLS = 18
_WINDOW = 12  # symbols that already tell: a secret that was cut is found too

ALPHABETS: Mapping[str, tuple[str, ...]] = {
    "letters": tuple("abcdefghijklmnopqrstuvwxyz0123456789"),
    "digits": tuple("0123456789"),
    "composed": tuple("àâäçéèêëîïôöùûüÿñãõåýńśźž"),
    "decomposed": tuple(unicodedata.normalize("NFD", letter) for letter in "àâäçéèêëîïôöùûüÿñãõåýńśźž"),
    "full width": tuple(map(chr, range(0xFF21, 0xFF3B))),
    "cyrillic": tuple("абвгдежзийклмнопрстуфхцчшщъыьэюя"),
    "ideographs": tuple(map(chr, range(0x4E00, 0x4E40))),
    "emoji": tuple(map(chr, range(0x1F600, 0x1F640))),
    "right to left": tuple(map(chr, range(0x5D0, 0x5EB))),
    "lone surrogates": tuple(map(chr, range(0xD800, 0xD840))),
    "controls": tuple(map(chr, (*range(1, 32), *range(127, 160)))),
    "punctuation": tuple("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"),
}

DISGUISES: tuple[str, ...] = (
    "{}",
    "/home/{}/models/{}.gguf",
    "{}/{}",
    "Qwen/Qwen3-0.6B{}",
    "NVIDIA H100 {}",
    "535.{}",
    "0.1.{}",
    "x'); DROP TABLE cells; INSERT INTO reports VALUES ('{}'",
    '{{"metavox.week": "{}", "a": ["{}"]}}',
    "\n\x12{}\x1a\x00",
    "https://{}:{}@{}.example/?q={}",
    "../../{}\x00",
    "%s {} {{0}}",
    " \t{}\r\n",
    "metavox/tiny\x00{}",
    "vllm {}",
)
"""What a secret may be dressed as: a path, a hub id, a product and a version that we know, SQL, JSON, protobuf."""


@functools.lru_cache(maxsize=512)
def core(alphabet: str, number: int) -> str:
    """A secret of some symbols that nothing holds by chance."""
    digest = hashlib.sha512(f"{alphabet} {number}".encode()).digest()
    symbols = ALPHABETS[alphabet]
    return "".join(symbols[byte % len(symbols)] for byte in digest[:_SYMBOLS])


@st.composite
def secrets(draw: st.DrawFn) -> tuple[str, str]:
    """A core, and the text that holds it as it is planted."""
    made = core(draw(st.sampled_from(sorted(ALPHABETS))), draw(st.integers(0, 2**16)))
    dressed = draw(st.sampled_from(DISGUISES)).format(*[made] * 4)
    around = st.one_of(
        st.just(""), st.text(max_size=8), st.sampled_from(["x" * 100_000, "\x00" * 300, "é" * 5_000])
    )
    return made, draw(around) + dressed + draw(around)


def found(secret: str, planted: str, places: Mapping[str, bytes]) -> list[str]:
    """Where a secret occurs, and in which form; [] when it is nowhere.

    Args:
        secret: Its core.
        planted: The whole text.
        places: Bytes by what they are.
    """
    squeezed = {name: _squeezed(content) for name, content in places.items()}
    return [
        f"{form} in the {name}"
        for form, needle in _needles(secret, planted)
        for name, content in squeezed.items()
        if needle in content
    ]


def _squeezed(content: bytes) -> bytes:
    """The bytes, and what is compressed in them; long runs of zeros, which are pages' empty ends, made short."""
    whole = content + b"|" + b"|".join(_inflated(content))
    return re.sub(rb"\x00{32,}", b"\x00" * 32, whole)


def _inflated(content: bytes) -> Iterator[bytes]:
    for start in re.finditer(b"\x1f\x8b\x08", content):
        with contextlib.suppress(zlib.error):
            yield zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(content[start.start() :])


def _needles(secret: str, planted: str) -> list[tuple[str, bytes]]:
    whole = planted.encode("utf-8", "surrogatepass")
    hashes = [(name, hashlib.new(name, whole)) for name in ("sha256", "sha1", "md5", "blake2b")]
    return [
        *_forms_of(secret),
        *((f"{name} of it", made.digest()) for name, made in hashes),
        *((f"{name} of it in hex", made.hexdigest().encode()) for name, made in hashes),
    ]


@functools.lru_cache(maxsize=512)
def _forms_of(secret: str) -> list[tuple[str, bytes]]:
    forms: dict[bytes, str] = {}
    for fold in ("as it is", "NFC", "NFD", "NFKC", "NFKD"):
        text = secret if fold == "as it is" else unicodedata.normalize(fold, secret)  # type: ignore[arg-type]
        for case in (str, str.lower, str.upper):
            cased = case(text)
            for part in (cased[:_WINDOW], cased[-_WINDOW:]):
                for name, needle in _encoded(part):
                    forms.setdefault(needle, f"{fold}, {name}")
                for name, needle in _encoded(part[::-1]):
                    forms.setdefault(needle, f"{fold}, reversed, {name}")
    return [(name, needle) for needle, name in forms.items()]


ENCODINGS: Mapping[str, Callable[[str], list[bytes]]] = {
    "utf-8": lambda text: [utf8(text)],
    "utf-16": lambda text: [text.encode(f"utf-16-{end}", "surrogatepass") for end in ("le", "be")],
    "utf-32": lambda text: [text.encode(f"utf-32-{end}", "surrogatepass") for end in ("le", "be")],
    "latin-1": lambda text: [text.encode("latin-1")] if text.isascii() or max(text) < "\u0100" else [],
    "hex": lambda text: [utf8(text).hex().encode(), utf8(text).hex().upper().encode()],
    "base64": lambda text: [
        cut for alphabet in (base64.b64encode, base64.urlsafe_b64encode) for cut in _aligned(utf8(text), alphabet)
    ],
    "URL": lambda text: [
        written.encode() for written in (quote(utf8(text), safe=""), quote(utf8(text)), quote_plus(utf8(text)))
    ],
    "JSON": lambda text: [json.dumps(text)[1:-1].encode(), json.dumps(json.dumps(text))[3:-3].encode()],
    "repr": lambda text: [repr(text)[1:-1].encode("utf-8", "surrogatepass"), ascii(text)[1:-1].encode()],
    "HTML": lambda text: [utf8(html.escape(text)), text.encode("ascii", "xmlcharrefreplace")],
    "escapes": lambda text: [text.encode("ascii", "backslashreplace")],
}  # fmt: skip
"""How a text may be written."""


def _encoded(text: str) -> Iterator[tuple[str, bytes]]:
    for name, encode in ENCODINGS.items():
        for needle in encode(text):
            yield name, needle


def utf8(text: str) -> bytes:
    """As UTF-8, lone surrogates included."""
    return text.encode("utf-8", "surrogatepass")


def _aligned(content: bytes, encode: Callable[[bytes], bytes]) -> Iterator[bytes]:
    """What of the base64 does not depend on what stands before and after, at the three alignments."""
    for before in range(3):
        whole = len(content) - (before + len(content)) % 3
        start = 0 if before == 0 else 4
        yield encode(b"\0" * before + content[:whole])[start:].rstrip(b"=")


def zipped(text: str) -> bytes:
    """As a body on the wire is."""
    return gzip.compress(utf8(text), mtime=0)
