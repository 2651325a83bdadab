"""Structured output: which tokens continue a text of the form that was asked for, by llguidance."""

from __future__ import annotations

import json
from collections import OrderedDict
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from metavox.engine.matchers import set_bits
from metavox.engine.tokenizer import HubTokenizer
from metavox.errors import InvalidRequest, MissingExtra
from metavox.structured import StructuredOutputsParams

MOST_KEPT = 64  # compiled grammars of one tokenizer


class Grammar:
    """A form that was compiled for a tokenizer: a `Constraint`."""

    def __init__(self, prototype: Any, end_ids: NDArray[np.int64], num_words: int) -> None:
        self._prototype = prototype
        self._end_ids = end_ids
        self._num_words = num_words

    def matcher(self) -> GrammarMatcher:
        """The state of a new completion."""
        return GrammarMatcher(self._prototype.deep_copy(), self._end_ids, self._num_words)


class GrammarMatcher:
    """How far one completion has come in its form: a `Matcher`.

    Where the text may be complete the model's end-of-sequence tokens are allowed, and where nothing can follow
    they alone are.
    """

    def __init__(self, inner: Any, end_ids: NDArray[np.int64], num_words: int) -> None:
        self._inner = inner
        self._end_ids = end_ids
        self._num_words = num_words  # of the tokenizer's masks, which may have more tokens than the model

    def fill(self, allowed: NDArray[np.int32]) -> None:
        """See `Matcher.fill`. A text that ran into a limit of the library has nothing that may follow."""
        if not self._inner.is_stopped():
            words = allowed if len(allowed) == self._num_words else np.zeros(self._num_words, dtype=np.int32)
            self._inner.unsafe_compute_mask_ptr(words.ctypes.data, words.nbytes)
            allowed[:] = words[: len(allowed)]
        else:
            allowed[:] = 0
            set_bits(allowed, self._end_ids)
        if self._inner.is_error():
            allowed[:] = 0

    def accept(self, token: int) -> None:
        """See `Matcher.accept`. An end-of-sequence token leaves it complete."""
        if not self._inner.is_stopped():
            self._inner.consume_token(token)


class GrammarCompiler:
    """Compiles forms for one tokenizer, and keeps the last ones. Any thread may use it.

    Args:
        tokenizer: a fast one of transformers, which is byte-level or sentencepiece.
        vocab_size: of the model; ids that the tokenizer does not have are never allowed.
        eos_token_ids: what ends an output.

    Raises:
        InvalidRequest: the tokenizer is none that can be used, or nothing ends an output.
    """

    def __init__(self, tokenizer: HubTokenizer, vocab_size: int, eos_token_ids: frozenset[int]) -> None:
        if not eos_token_ids:
            raise InvalidRequest("structured_outputs needs an end-of-sequence token, and the model has none.")
        self._end_ids = np.array(sorted(eos_token_ids), dtype=np.int64)
        self._vocab_size = vocab_size
        self._library = _library()
        self._tokenizer = self._read(tokenizer, vocab_size)
        self._special = tuple(map(str, tokenizer.inner.all_special_tokens))
        self._kept: OrderedDict[StructuredOutputsParams, Grammar] = OrderedDict()
        self._lock = Lock()

    def _read(self, tokenizer: HubTokenizer, vocab_size: int) -> Any:
        backend = getattr(tokenizer.inner, "backend_tokenizer", None)
        if backend is None:
            raise InvalidRequest("structured_outputs needs a tokenizer.json, and the model's tokenizer has none.")
        try:
            return self._library.LLTokenizer(
                _plain_json(backend),
                n_vocab=max(vocab_size, len(tokenizer.inner)),
                eos_token=self._end_ids.tolist(),
            )
        except Exception as error:
            raise InvalidRequest(f"structured_outputs cannot use the model's tokenizer: {error}") from error

    def compile(self, form: StructuredOutputsParams) -> Grammar:
        """The grammar of `form`.

        Raises:
            InvalidRequest: the schema or the expression is wrong, or has something that cannot be followed.
        """
        with self._lock:
            grammar = self._kept.pop(form, None)
        grammar = grammar or self._compiled(form)
        with self._lock:
            self._kept[form] = grammar
            if len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return grammar

    def _compiled(self, form: StructuredOutputsParams) -> Grammar:
        special = next((token for token in self._special for text in form.choice or () if token in text), None)
        if special is not None:  # the library would take the token for its text, and one that ends it for the end
            raise _unusable(form, f"{special!r} is a special token, which cannot be written as text")
        try:
            prototype = self._library.LLMatcher(self._tokenizer, self._source(form), log_level=0)
        except ValueError as error:  # half a surrogate pair, a schema that is nested too deep
            raise _unusable(form, str(error)) from error
        if prototype.is_error():
            raise _unusable(form, prototype.get_error())
        grammar = Grammar(prototype, self._end_ids, -(-self._tokenizer.vocab_size // 32))
        if not self._can_begin(grammar):
            raise _unusable(form, "no text has this form, or none that the model's tokens can begin")
        return grammar

    def _can_begin(self, grammar: Grammar) -> bool:
        allowed = np.full(-(-self._vocab_size // 32), -1, dtype=np.int32)
        grammar.matcher().fill(allowed)
        bits = np.unpackbits(allowed.view(np.uint8), bitorder="little")  # a tokenizer may have more of them
        return bool(bits[: self._vocab_size].any())

    def _source(self, form: StructuredOutputsParams) -> str:
        matcher = self._library.LLMatcher
        if form.regex is not None:
            return str(matcher.grammar_from_regex(form.regex))
        if form.choice is not None:
            return str(matcher.grammar_from_lark("start: " + " | ".join(map(json.dumps, form.choice))))
        schema = '{"type": "object"}' if form.json is None else form.json
        options = {"whitespace_flexible": False} if form.disable_any_whitespace else {}
        return str(matcher.grammar_from_json_schema(schema, overrides=options))


def _unusable(form: StructuredOutputsParams, reason: str) -> InvalidRequest:
    name = "json" if form.json else "regex" if form.regex else "choice" if form.choice else "json_object"
    return InvalidRequest(f"StructuredOutputsParams.{name} cannot be used: {reason[:500]}")


def _plain_json(backend: Any) -> str:
    """tokenizer.json, without the padding and truncation that a batch of texts would get."""
    text: str = backend.to_str()
    if backend.padding is None and backend.truncation is None:
        return text
    return json.dumps({**json.loads(text), "padding": None, "truncation": None})


def _library() -> Any:
    try:
        import llguidance
    except ImportError as error:
        raise MissingExtra("structured_outputs needs llguidance; pip install 'metavox[engine]'.") from error
    return llguidance


_COMPILERS: WeakKeyDictionary[HubTokenizer, dict[tuple[int, frozenset[int]], GrammarCompiler]] = WeakKeyDictionary()
_COMPILERS_LOCK = Lock()


def grammar_compiler(tokenizer: HubTokenizer, vocab_size: int, eos_token_ids: frozenset[int]) -> GrammarCompiler:
    """The one compiler of a tokenizer and a model, made on first use: that takes up to a second.

    Raises:
        InvalidRequest: see `GrammarCompiler`.
    """
    with _COMPILERS_LOCK:
        compilers = _COMPILERS.setdefault(tokenizer, {})
        key = (vocab_size, eos_token_ids)
        if key not in compilers:
            compilers[key] = GrammarCompiler(tokenizer, vocab_size, eos_token_ids)
        return compilers[key]
