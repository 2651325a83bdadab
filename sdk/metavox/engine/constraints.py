"""What a request's parameters ask of this model's tokens: checked, and made ready."""

from __future__ import annotations

from metavox.engine.grammar import Grammar, grammar_compiler
from metavox.engine.matchers import BadWords
from metavox.engine.prompts import check_unicode
from metavox.engine.tokenizer import HubTokenizer
from metavox.errors import InvalidRequest, shown
from metavox.params import SamplingParams


def needs_tokens(params: SamplingParams) -> bool:
    """Whether all earlier tokens must be known before the next one can be prepared."""
    words = params.bad_words or ()
    return params.structured_outputs is not None or any(isinstance(word, str) or len(word) > 1 for word in words)


def needs_history(params: SamplingParams) -> bool:
    """Whether the choice of a token depends on the earlier ones other than through the logits."""
    return needs_tokens(params) or params.is_penalized


def check_params(
    params: SamplingParams, vocab_size: int, tokenizer: HubTokenizer | None, eos_token_ids: frozenset[int]
) -> Grammar | BadWords | None:
    """Refuse what this model cannot do, and give what each completion's matcher is made of, if it needs one.

    Args:
        params: of a request.
        vocab_size: token ids are below it.
        tokenizer: None for a model without one.
        eos_token_ids: the model's end-of-sequence tokens.

    Raises:
        InvalidRequest: a token id is outside of the vocabulary, a text needs a tokenizer that is not there, no
            token is left to choose, or the structure is none that can be followed.
    """
    if params.stop_strings and tokenizer is None:
        raise InvalidRequest("Stop strings need a tokenizer, and the model has none; use stop_token_ids.")
    words = _bad_words(params, tokenizer)
    _check_ids(params, vocab_size)
    _check_choice(params, vocab_size, words, eos_token_ids)
    if params.structured_outputs is None:
        return words
    if tokenizer is None:
        raise InvalidRequest("structured_outputs needs a tokenizer, and the model has none.")
    return grammar_compiler(tokenizer, vocab_size, eos_token_ids).compile(params.structured_outputs)


def _check_ids(params: SamplingParams, vocab_size: int) -> None:
    listed = {
        "stop token id": params.stop_token_ids or (),
        "allowed token id": params.allowed_token_ids or (),
        "logit_bias token id": params.logit_bias or (),
        "bad word's token id": [
            token for word in params.bad_words or () if isinstance(word, tuple) for token in word
        ],
    }
    for name, ids in listed.items():
        outside = [token for token in ids if token >= vocab_size]
        if outside:
            raise InvalidRequest(
                f"The {name} {shown(outside[0])} is outside the model's vocabulary, 0 to {vocab_size - 1}."
            )


def _check_choice(
    params: SamplingParams, vocab_size: int, words: BadWords | None, eos_token_ids: frozenset[int]
) -> None:
    """Something must be left to choose, whatever came before."""
    ends = frozenset(params.stop_token_ids or ()) | (frozenset() if params.ignore_eos else eos_token_ids)
    choice = frozenset(params.allowed_token_ids or ())

    def is_everything(ids: frozenset[int]) -> bool:
        return choice <= ids if choice else len(ids) >= vocab_size

    for forbidden in words.forbidden(choice) if words else [frozenset[int]()]:
        if is_everything(forbidden):
            raise InvalidRequest("bad_words leaves no token to choose; allow more.")
        if params.min_tokens and is_everything(forbidden | ends):
            what = "every token of the vocabulary" if not choice else "every allowed token"
            rest = " or is a bad word" if words else ""
            raise InvalidRequest(f"min_tokens cannot be reached: {what} ends the output{rest}.")


def _bad_words(params: SamplingParams, tokenizer: HubTokenizer | None) -> BadWords | None:
    if not params.bad_words:
        return None
    words: list[tuple[int, ...]] = []
    for word in params.bad_words:
        if isinstance(word, str):
            if tokenizer is None:
                raise InvalidRequest("bad_words as text need a tokenizer, and the model has none; give token ids.")
            words += _tokenized(word, tokenizer)
        else:
            words.append(tuple(word))
    return BadWords(words)


def _tokenized(word: str, tokenizer: HubTokenizer) -> list[tuple[int, ...]]:
    """The word's tokens at the beginning of a text, and after a space. vLLM's, and those of another number."""
    check_unicode(word, "A bad word")
    bare, spaced = (
        tuple(tokenizer.inner.encode(prefix + word.lstrip(), add_special_tokens=False)) for prefix in ("", " ")
    )
    if not bare:
        raise InvalidRequest(f"The bad word {shown(word)} has no tokens; leave it out.")
    return [bare] if spaced in ((), bare) else [bare, spaced]
