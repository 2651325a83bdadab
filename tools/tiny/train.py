"""Train the tiny model that ships with the SDK, from nothing but ``corpus.py``.

    python tools/tiny/train.py --out sdk/metavox/tiny

The number of steps fixes the run, not the clock: the same seed and steps see the same tokens in the same
order. The defaults are the run that made the committed model; the model card says how long it took.
``--steps 20 --out /tmp/tiny`` is a quick look at the whole path. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import corpus
import export
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn import functional
from transformers import Qwen3Config, Qwen3ForCausalLM

END = "<|endoftext|>"
VOCAB = 2048
HELD_OUT_SEED = 1_000_003
HELD_OUT_CHARACTERS = 400_000
TOKENIZER_CHARACTERS = 4_000_000


@dataclass(frozen=True)
class Run:
    """What one training run is asked to do; ``window`` is in tokens, ``batch`` in windows."""

    steps: int
    batch: int
    window: int
    peak_rate: float
    seed: int

    def rate(self, step: int) -> float:
        """Return the learning rate of ``step``: a linear warm-up, then half a cosine down to 2 %."""
        warmup = min(100, self.steps // 10 + 1)
        if step < warmup:
            return self.peak_rate * (step + 1) / warmup
        progress = (step - warmup) / max(1, self.steps - warmup)
        return self.peak_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))


def train_tokenizer(seed: int) -> Tokenizer:
    """Return a byte-level BPE of ``VOCAB`` entries; every byte is one of them, so any text can be encoded."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus.characters(seed, TOKENIZER_CHARACTERS), trainer)
    return tokenizer


def model_config() -> Qwen3Config:
    """Return the shape of the model: small enough that its bfloat16 weights stay under 7.5 MB."""
    return Qwen3Config(
        vocab_size=VOCAB,
        hidden_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        intermediate_size=704,
        max_position_embeddings=1024,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=None,
        use_cache=False,
    )


def windows(tokenizer: Tokenizer, seed: int, batch: int, length: int) -> Iterator[torch.Tensor]:
    """Yield [batch, length] tokens of texts laid end to end, each followed by the end token, without end."""
    pool: list[int] = []
    texts = corpus.documents(seed)
    while True:
        while len(pool) < batch * length:
            block = [next(texts) + END for _ in range(256)]
            for encoding in tokenizer.encode_batch(block):
                pool.extend(encoding.ids)
        yield torch.tensor(pool[: batch * length]).view(batch, length)
        del pool[: batch * length]


def loss_of(model: Qwen3ForCausalLM, tokens: torch.Tensor) -> torch.Tensor:
    """Return the mean next-token cross-entropy of [batch, length] ``tokens``, in nats."""
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(tokens).logits[:, :-1]
    return functional.cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten())


def optimizer_of(model: Qwen3ForCausalLM) -> torch.optim.AdamW:
    """Return AdamW that decays the matrices alone, as is usual for norms' weights."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, betas=(0.9, 0.95), fused=True)


def fit(model: Qwen3ForCausalLM, batches: Iterator[torch.Tensor], run: Run) -> float:
    """Train ``model`` in place and return the mean loss of the last 50 steps."""
    optimizer = optimizer_of(model)
    recent: list[float] = []
    started = time.perf_counter()
    for step in range(run.steps):
        for group in optimizer.param_groups:
            group["lr"] = run.rate(step)
        loss = loss_of(model, next(batches))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        recent = [*recent[-49:], loss.item()]
        if step % 50 == 0 or step == run.steps - 1:
            elapsed = time.perf_counter() - started
            print(f"step {step:5d}  loss {sum(recent) / len(recent):.4f}  {elapsed:6.0f} s", flush=True)
    return sum(recent) / len(recent)


@torch.inference_mode()
def held_out_loss(model: Qwen3ForCausalLM, tokenizer: Tokenizer, window: int) -> float:
    """Return the mean loss on texts of a seed that training never uses."""
    texts = corpus.characters(HELD_OUT_SEED, HELD_OUT_CHARACTERS)
    ids = tokenizer.encode("".join(text + END for text in texts)).ids
    rows = torch.tensor(ids[: len(ids) // window * window]).view(-1, window)
    losses = [loss_of(model, row[None]).item() for row in rows]
    return sum(losses) / len(losses)


def parse() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description="Train the tiny model that ships with the SDK.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write the model into")
    parser.add_argument("--steps", type=int, default=4500, help="optimizer steps")
    parser.add_argument("--batch", type=int, default=4, help="windows per step")
    parser.add_argument("--window", type=int, default=512, help="tokens per window")
    parser.add_argument("--peak-rate", type=float, default=2e-3, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=7, help="seed of the texts and of the weights")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    return parser.parse_args()


def main() -> None:
    """Train, measure, write."""
    options = parse()
    run = Run(options.steps, options.batch, options.window, options.peak_rate, options.seed)
    torch.set_num_threads(options.threads)
    torch.manual_seed(run.seed)
    started = time.perf_counter()
    tokenizer = train_tokenizer(run.seed)
    model = Qwen3ForCausalLM(model_config())
    print(f"{model.num_parameters():,} parameters", flush=True)
    train_loss = fit(model, windows(tokenizer, run.seed + 1, run.batch, run.window), run)
    seconds = time.perf_counter() - started
    model = model.bfloat16().eval()
    measured = export.Measured(
        parameters=model.num_parameters(),
        tokens=run.steps * run.batch * run.window,
        steps=run.steps,
        window=run.window,
        seconds=seconds,
        train_loss=train_loss,
        held_out_loss=held_out_loss(model, tokenizer, run.window),
    )
    export.write(options.out, model, tokenizer, END, measured)
    print(measured)


if __name__ == "__main__":
    main()
