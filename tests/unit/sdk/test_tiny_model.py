import importlib.util
import itertools
import json
import math
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors import safe_open
from transformers import AutoTokenizer, PreTrainedTokenizerFast, Qwen3ForCausalLM

ROOT = Path(__file__).parents[3]
TINY = ROOT / "sdk/metavox/tiny"
END = "<|endoftext|>"
UNSEEN_SEED = 20_260_001  # training uses the seeds 7 and 8
PROMPTS = ("Once upon a time", "The little fox", "In the morning", "Tell me about the sea\n")

MOST_PERPLEXITY = 1.6  # 1.49 when it was trained
GREEDY = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}


@pytest.fixture(scope="module")
def corpus() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tiny_corpus", ROOT / "tools/tiny/corpus.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(TINY)


@pytest.fixture(scope="module")
def model() -> Iterator[Qwen3ForCausalLM]:
    # One thread: on a busy machine, two wait for each other at every layer (24 s, once, instead of 1).
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Qwen3ForCausalLM.from_pretrained(TINY, dtype=torch.float32).eval()
    torch.set_num_threads(threads)


def words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def test_the_weights_are_at_most_eight_megabytes():
    assert (TINY / "model.safetensors").stat().st_size <= 8_000_000


def test_the_weights_are_finite_bfloat16_with_the_embedding_stored_once():
    with safe_open(TINY / "model.safetensors", "pt") as weights:
        names = set(weights.keys())
        assert "lm_head.weight" not in names
        for name in names:
            tensor = weights.get_tensor(name)
            assert tensor.dtype == torch.bfloat16
            assert torch.isfinite(tensor).all()


def test_the_configuration_is_qwen3_and_names_no_folder():
    config = json.loads((TINY / "config.json").read_text())
    assert config["architectures"] == ["Qwen3ForCausalLM"]
    assert config["model_type"] == "qwen3"
    assert config["dtype"] == config["torch_dtype"] == "float32"
    assert config["tie_word_embeddings"] is True
    assert "_name_or_path" not in config
    assert not [value for value in config.values() if isinstance(value, str) and "/" in value]


def test_every_folder_file_agrees_on_the_end_token(tokenizer: PreTrainedTokenizerFast):
    ids = [
        json.loads((TINY / f"{name}.json").read_text())["eos_token_id"] for name in ("config", "generation_config")
    ]
    assert ids == [tokenizer.eos_token_id] * 2
    assert tokenizer.convert_ids_to_tokens(tokenizer.eos_token_id) == END
    assert tokenizer.bos_token is None


def test_the_model_card_states_what_the_model_is_for():
    card = (TINY / "README.md").read_text()
    assert "license: mit" in card
    assert "knows nothing" in card
    assert "tools/tiny/train.py" in card


def test_the_same_seed_gives_the_same_texts_and_another_seed_gives_others(corpus: ModuleType):
    first, again, other = (list(itertools.islice(corpus.documents(seed), 200)) for seed in (3, 3, 4))
    assert first == again
    assert len(set(first) & set(other)) < 40


def test_stories_are_nearly_all_distinct(corpus: ModuleType):
    rng = random.Random(5)
    stories = [corpus.story(rng) for _ in range(2000)]
    assert len(set(stories)) > 0.95 * len(stories)
    assert len({word for story in stories for word in words(story)}) > 1000


def test_texts_hold_no_trace_of_the_grammars_notation(corpus: ModuleType):
    texts = corpus.characters(9, 1_000_000)
    assert not [text for text in texts if re.search(r"[{}\[\]|@/]|  |\.\.|,,|^$", text)]


def test_every_name_in_the_grammar_is_defined(corpus: ModuleType):
    grammar = corpus.load_grammar()
    columns = {key for rows in grammar.tables.values() for key in rows[0]}
    lines = [line for rule in grammar.rules.values() for line in rule]
    lines += [cell for rows in grammar.tables.values() for row in rows for cell in row.values()]
    slots = [slot for line in lines for slot in re.findall(r"\{([\w.]+)((?:!|:\w+)?)\}", line)]
    bound = {name for name, action in slots if action.startswith(":")}
    used = {action[1:] if action.startswith(":") else name for name, action in slots if action != "!"}
    known = set(grammar.rules) | columns | bound
    unknown = {name for name in used if name[0].lower() + name[1:] not in known}
    assert {name for name in unknown if not re.match(r"[a-cA-C](\.\w+)?$", name)} == set()


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\n\n\t x ",
        "naïve café",
        "Привет, мир",
        "你好,世界",
        "שלום",
        "👩‍👩‍👧‍👦🇺🇳",
        "a\x00b\u200d\ufeff",
        "x = [1, 2]\r\n",
        "  two  spaces  ",
    ],
)
def test_the_tokenizer_round_trips_any_text(tokenizer: PreTrainedTokenizerFast, text: str):
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_the_tokenizer_round_trips_random_code_points(tokenizer: PreTrainedTokenizerFast):
    rng = random.Random(1)
    points = [point for point in (rng.randrange(0x110000) for _ in range(5000)) if not 0xD800 <= point < 0xE000]
    text = "".join(map(chr, points))
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_a_chat_is_laid_out_as_the_texts_are(tokenizer: PreTrainedTokenizerFast):
    chat = [{"role": "user", "content": "Tell me about the sea."}]
    assert tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) == (
        "Tell me about the sea.\n"
    )


@torch.inference_mode()
def test_the_model_predicts_unseen_stories(
    corpus: ModuleType, tokenizer: PreTrainedTokenizerFast, model: Qwen3ForCausalLM
):
    rng = random.Random(UNSEEN_SEED)
    nats, count = 0.0, 0
    for _ in range(60):
        ids = tokenizer(END + corpus.story(rng) + END, return_tensors="pt").input_ids
        nats += model(ids, labels=ids).loss.item() * (ids.shape[1] - 1)
        count += ids.shape[1] - 1
    assert math.exp(nats / count) < MOST_PERPLEXITY


@torch.inference_mode()
@pytest.mark.parametrize("sampled", [False, True])
def test_the_model_writes_words_of_the_corpus(
    corpus: ModuleType, tokenizer: PreTrainedTokenizerFast, model: Qwen3ForCausalLM, sampled: bool
):
    torch.manual_seed(0)
    vocabulary = {word for text in corpus.characters(2, 1_500_000) for word in words(text)}
    written: list[str] = []
    for prompt in PROMPTS:
        inputs = tokenizer(prompt, return_tensors="pt")
        options = {"do_sample": True, "num_return_sequences": 2} if sampled else GREEDY
        for ids in model.generate(**inputs, max_new_tokens=48, **options):
            # The last word may be cut by the limit on tokens.
            written += words(tokenizer.decode(ids[inputs.input_ids.shape[1] :], skip_special_tokens=True))[:-1]
    assert len(written) > 100
    assert sum(word in vocabulary for word in written) > 0.95 * len(written)
