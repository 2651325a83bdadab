"""A device for tests of the engine: it keeps tokens where a real one keeps keys and values.

Its next token is a hash of all tokens that the block table leads to. So a block that is lost, owned twice, found
under a wrong name, or written too late changes the output, and outputs can be compared with a request's run alone.
"""

from __future__ import annotations

from concurrent.futures import Future
from hashlib import blake2b

import numpy as np
import torch

from metavox.config import EngineInfo
from metavox.engine.blocks import BlockPool
from metavox.engine.checks import RequestChecks
from metavox.engine.chosen import Sampled
from metavox.engine.engine import Engine
from metavox.engine.generation import GenerationDefaults
from metavox.engine.runner import StepResult
from metavox.engine.scheduler import Scheduler

BLOCK = 4
INFO = EngineInfo("test", None, "Test", 1, "float32", "cpu", 1000, 1, "0")


def next_token(tokens: list[int], vocab: int) -> int:
    """What follows `tokens`, and nothing else decides it."""
    digest = blake2b(np.array(tokens, dtype=np.int64).tobytes(), digest_size=8).digest()
    return int.from_bytes(digest, "little") % vocab


class Later(Future):
    """A step that runs when it is waited for, or when a later one is."""

    def __init__(self, device: Device) -> None:
        super().__init__()
        self.device = device

    def result(self, timeout=None):
        self.device.run_until(self)
        return super().result(timeout)


class Device:
    """A StepRunner. Steps run as late as they may, so that what a plan wrongly takes for known is not there."""

    def __init__(self, num_blocks: int, vocab: int = 50) -> None:
        self.cache = [[None] * BLOCK for _ in range(num_blocks)]
        self.vocab = vocab
        self.last: dict[int, int] = {}
        self.queue: list[tuple[Later, list]] = []
        self.num_run = self.num_tokens = 0

    def launch(self, plan):
        assert len(self.queue) <= 1, "more than one step ahead"
        pieces = []
        for piece in plan:
            known = piece.sequence.token_ids[piece.start : piece.start + piece.num_tokens].tolist()
            if piece.drafts is not None:
                known += piece.drafts.tolist()
            pieces.append((piece, list(piece.sequence.block_table), piece.sequence.slot, known))
        future = Later(self)
        self.queue.append((future, pieces))
        return future

    def run_until(self, future):
        while not future.done():
            step, pieces = self.queue.pop(0)
            step.set_result(self.run(pieces))

    def run(self, pieces):
        self.num_run += 1
        for piece, table, slot, known in pieces:  # all are written before any is read
            tokens = known or [self.last[slot]]
            assert len(tokens) == piece.num_tokens
            self.num_tokens += len(tokens)
            for at, token in enumerate(tokens, piece.start):
                self.cache[table[at // BLOCK]][at % BLOCK] = token
        sampled = []
        for piece, table, slot, _ in pieces:
            end = piece.start + piece.num_tokens
            for at in range(end - piece.num_sampled + 1, end + 1) if piece.num_sampled else ():
                seen = [self.cache[table[i // BLOCK]][i % BLOCK] for i in range(at)]
                sampled.append(next_token(seen, self.vocab))
                self.last[slot] = sampled[-1]
        return StepResult(Sampled(torch.tensor(sampled, dtype=torch.int64), None, {}), [None] * len(pieces))

    def reset(self):
        self.queue.clear()

    def close(self):
        pass

    def memory_bytes(self):
        return 0


def engine(
    num_blocks: int,
    *,
    max_num_seqs: int = 4,
    max_num_batched_tokens: int = 16,
    prefix_caching: bool = True,
    ngram=None,
    vocab: int = 50,
) -> Engine:
    defaults = GenerationDefaults(frozenset({0}), {})
    return Engine(
        INFO,
        Device(num_blocks, vocab),
        Scheduler(
            BlockPool(num_blocks, BLOCK),
            max_num_seqs,
            max_num_batched_tokens,
            prefix_caching=prefix_caching,
            ngram=ngram,
        ),
        RequestChecks(
            None,
            defaults,
            vocab_size=vocab,
            max_model_len=1000,
            num_blocks=num_blocks,
            block_size=BLOCK,
            speculative=ngram is not None,
        ),
        None,
        seed=0,
    )


def expected(prompt: list[int], max_tokens: int, vocab: int = 50, eos: int | None = 0) -> list[int]:
    """What a request alone gives."""
    tokens = list(prompt)
    while len(tokens) - len(prompt) < max_tokens:
        tokens.append(next_token(tokens, vocab))
        if tokens[-1] == eos:
            break
    return tokens[len(prompt) :]
