"""Structured output of a model that knows nothing: whatever it chooses, the text has the form."""

import gc
import json
import re
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from pydantic import BaseModel
from tokenizers import Tokenizer, decoders, models, normalizers
from transformers import PreTrainedTokenizerFast

from metavox import SamplingParams, StructuredOutputsParams
from metavox.engine.constraints import check_params
from metavox.engine.grammar import _COMPILERS, GrammarCompiler, grammar_compiler
from metavox.engine.tokenizer import HubTokenizer, load_tokenizer
from metavox.errors import InvalidRequest, MissingExtra


class Person(BaseModel):
    name: str
    age: int
    tall: bool


@pytest.fixture(scope="module")
def byte_level():
    return load_tokenizer(Path(str(files("metavox") / "tiny")))


@pytest.fixture(scope="module")
def sentencepiece():
    """Llama 2's kind: ▁ for a space, bytes for what has no piece."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += [
        "▁",
        *'abcdefghijklmnopqrstuvwxyzABCDE0123456789{}[]":,.-',
        "▁a",
        "▁the",
        "th",
        "the",
        '":',
        '",',
        "é",
    ]
    model = models.BPE(
        vocab={piece: number for number, piece in enumerate(pieces)},
        merges=[("t", "h"), ("th", "e"), ("▁", "a"), ("▁", "the"), ('"', ":"), ('"', ",")],
        unk_token="<unk>",
        fuse_unk=True,
        byte_fallback=True,
    )
    inner = Tokenizer(model)
    inner.normalizer = normalizers.Replace(" ", "▁")
    inner.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    inner.add_special_tokens(["<unk>", "<s>", "</s>"])
    return HubTokenizer(PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="</s>", unk_token="<unk>"))


@pytest.fixture(params=["byte_level", "sentencepiece"])
def tokenizer(request):
    return request.getfixturevalue(request.param)


def generate(tokenizer, seed, vocab_size=None, limit=400, **form):
    """A text whose tokens are drawn alike from all that is allowed, and whether it came to its end."""
    vocab_size = vocab_size or len(tokenizer.inner) + 37
    eos = tokenizer.eos_token_id
    params = SamplingParams(structured_outputs=StructuredOutputsParams(**form))
    matcher = check_params(params, vocab_size, tokenizer, frozenset({eos})).matcher()
    random = np.random.default_rng(seed)
    ends = [eos, *tokenizer.inner.encode('"', add_special_tokens=False)]
    tokens: list[int] = []
    while len(tokens) < limit:
        words = np.full(-(-vocab_size // 32), -1, dtype=np.int32)
        matcher.fill(words)
        allowed = np.unpackbits(words.view(np.uint8), bitorder="little").nonzero()[0]
        assert len(allowed) > 0
        assert allowed.max() < len(tokenizer.inner)
        # What may end is ended now and then: a model that knows nothing would write on for ever.
        possible = [end for end in ends if end in allowed]
        token = possible[0] if possible and random.random() < 0.3 else int(random.choice(allowed))
        if token == eos:
            return tokenizer.decode(tokens, skip_special_tokens=True), True
        tokens.append(token)
        matcher.accept(token)
    return tokenizer.decode(tokens, skip_special_tokens=True), False


@pytest.mark.parametrize("expression", [r"[0-9]{3}-[a-f]{2}", r"(yes|no)( (yes|no)){0,3}", r"é?[^x]{2,5}!"])
def test_a_regular_expression_is_matched_whole(tokenizer, expression):
    if expression.endswith("!") and tokenizer.inner.eos_token == "</s>":
        expression = expression.replace("!", "e")
    for seed in range(8):
        text, ended = generate(tokenizer, seed, regex=expression)
        assert ended
        assert re.fullmatch(expression, text), text


def test_a_choice_is_one_of_the_strings(tokenizer):
    strings = ["red", "reddish", 'a "b"\\', "bé"]
    seen = {generate(tokenizer, seed, choice=strings) for seed in range(30)}
    assert {text for text, _ in seen} <= set(strings)
    assert len(seen) >= 3
    assert all(ended for _, ended in seen)


SCHEMA = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["cat", "dog"]},
        "sizes": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 99}, "maxItems": 3},
        "ok": {"type": "boolean"},
    },
    "required": ["kind", "sizes", "ok"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("compact", [True, False])
def test_json_has_the_form_of_its_schema(tokenizer, compact):
    done = 0
    for seed in range(10):
        text, ended = generate(tokenizer, seed, json=SCHEMA, disable_any_whitespace=compact)
        if not ended:
            continue
        done += 1
        value = json.loads(text)
        assert list(value) == ["kind", "sizes", "ok"]
        assert value["kind"] in ("cat", "dog")
        assert len(value["sizes"]) <= 3
        assert all(type(size) is int and 0 <= size <= 99 for size in value["sizes"])
        assert type(value["ok"]) is bool
        assert not compact or text == json.dumps(value, separators=(",", ":"))
    assert done >= 5


def test_json_of_a_pydantic_model_is_one_of_its_kind(byte_level):
    ended = [text for text, done in (generate(byte_level, seed, json=Person) for seed in range(12)) if done]
    assert len(ended) >= 3
    for text in ended:
        assert Person.model_validate_json(text)


def test_any_json_object_is_an_object(byte_level):
    ended = [text for text, done in (generate(byte_level, seed, json_object=True) for seed in range(12)) if done]
    assert len(ended) >= 3
    assert all(isinstance(json.loads(text), dict) for text in ended)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"regex": "(a"}, r"regex cannot be used: .*unclosed group"),
        ({"regex": "a(?=b)"}, r"regex cannot be used: .*look-around"),
        ({"regex": r"(a)\1"}, r"regex cannot be used: .*backreferences"),
        ({"json": {"type": "objekt"}}, r"json cannot be used: .*objekt"),
        ({"json": {"$ref": "#/nowhere"}}, r"json cannot be used: .*/nowhere"),
        ({"json": {"type": "string", "if": {}}}, r'json cannot be used: .*\["if"\]'),
        ({"json": '{"items":' * 300 + "{}" + "}" * 300}, r"json cannot be used: recursion limit"),
        ({"json": {"const": "\ud800"}}, r"json cannot be used: .*hex escape"),
        ({"regex": "\ud800"}, r"regex cannot be used: .*surrogates"),
        ({"regex": r"[^\s\S]"}, r"regex cannot be used: no text has this form"),
        ({"choice": ["a", "a<|endoftext|>b"]}, r"choice cannot be used: '<\|endoftext\|>' is a special token"),
    ],
)
def test_a_form_that_cannot_be_followed_is_refused_with_what_is_wrong(byte_level, form, message):
    params = SamplingParams(structured_outputs=StructuredOutputsParams(**form))
    with pytest.raises(InvalidRequest, match=re.compile(rf"StructuredOutputsParams.{message}", re.DOTALL)):
        check_params(params, len(byte_level.inner), byte_level, frozenset({0}))


def test_a_form_is_compiled_once_and_its_completions_do_not_disturb_each_other(byte_level):
    compiler = GrammarCompiler(byte_level, len(byte_level.inner), frozenset({0}))
    grammar = compiler.compile(StructuredOutputsParams(choice=["ab", "ba"]))
    assert compiler.compile(StructuredOutputsParams(choice=["ab", "ba"])) is grammar
    first, second = grammar.matcher(), grammar.matcher()
    (a,) = byte_level.inner.encode("a", add_special_tokens=False)
    masks = np.full((2, -(-len(byte_level.inner) // 32)), -1, dtype=np.int32)
    first.accept(a)
    for matcher, mask in zip((first, second), masks, strict=True):
        matcher.fill(mask)
    assert not np.array_equal(*masks)
    assert masks[1][a // 32] >> (a % 32) & 1
    assert not masks[0][a // 32] >> (a % 32) & 1


def test_only_the_last_compiled_forms_are_kept(byte_level, monkeypatch):
    monkeypatch.setattr("metavox.engine.grammar.MOST_KEPT", 2)
    compiler = GrammarCompiler(byte_level, len(byte_level.inner), frozenset({0}))
    forms = [StructuredOutputsParams(choice=[text]) for text in "abc"]
    grammars = [compiler.compile(form) for form in forms]
    assert compiler.compile(forms[2]) is grammars[2]
    assert compiler.compile(forms[0]) is not grammars[0]


def test_every_end_of_sequence_token_ends_it_and_none_does_before(byte_level):
    ends = frozenset({0, 5, 2047})
    matcher = GrammarCompiler(byte_level, 2050, ends).compile(StructuredOutputsParams(choice=["a"])).matcher()
    (a,) = byte_level.inner.encode("a", add_special_tokens=False)
    sets = []
    for token in (a, None):
        words = np.full(-(-2050 // 32), -1, dtype=np.int32)
        matcher.fill(words)
        sets.append(frozenset(np.unpackbits(words.view(np.uint8), bitorder="little").nonzero()[0].tolist()))
        if token is not None:
            matcher.accept(token)
    assert a in sets[0]
    assert not sets[0] & ends
    assert sets[1] == ends


def test_a_tokenizer_is_read_once_and_let_go_with_the_model():
    tokenizer = load_tokenizer(Path(str(files("metavox") / "tiny")))
    compilers = [grammar_compiler(tokenizer, 2048, frozenset({0})) for _ in range(2)]
    assert compilers[0] is compilers[1]
    assert tokenizer in _COMPILERS
    before = len(_COMPILERS)
    del tokenizer, compilers
    gc.collect()
    assert len(_COMPILERS) == before - 1


def test_a_tokenizer_may_have_more_tokens_than_the_model(byte_level):
    matcher = (
        GrammarCompiler(byte_level, 1000, frozenset({0})).compile(StructuredOutputsParams(regex=".*")).matcher()
    )
    words = np.full(-(-1000 // 32), -1, dtype=np.int32)
    matcher.fill(words)
    assert np.unpackbits(words.view(np.uint8))[:1000].sum() > 500


def test_a_model_without_an_end_of_sequence_is_refused(byte_level):
    with pytest.raises(InvalidRequest, match="needs an end-of-sequence token"):
        GrammarCompiler(byte_level, 2048, frozenset())


def test_a_tokenizer_without_its_json_is_refused():
    with pytest.raises(InvalidRequest, match=r"needs a tokenizer.json"):
        GrammarCompiler(HubTokenizer(object()), 2048, frozenset({0}))


def test_without_the_library_the_extra_is_named(byte_level, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "llguidance", None)
    with pytest.raises(MissingExtra, match=r"metavox\[engine\]"):
        GrammarCompiler(byte_level, 2048, frozenset({0}))


def test_padding_and_truncation_of_the_tokenizer_change_nothing(byte_level):
    tokenizer = load_tokenizer(Path(str(files("metavox") / "tiny")))
    tokenizer.inner.backend_tokenizer.enable_padding(length=8)
    tokenizer.inner.backend_tokenizer.enable_truncation(4)
    assert generate(tokenizer, 1, regex="[a-z]{12}") == generate(byte_level, 1, regex="[a-z]{12}")
