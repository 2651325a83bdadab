"""What sampling brings: the tokens, and where they were asked for, log-probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from metavox_kernels import token_logprobs


@dataclass(frozen=True)
class TokenLogprobs:
    """Log-probabilities of n tokens, in nats, and those of the likeliest tokens in their places.

    They are the model's own: of the logits as it computed them, at temperature 1.

    Attributes:
        token_ids: [n] int64.
        logprobs: [n] float32.
        ranks: [n] int64; how many tokens are at least as likely, 1 for the likeliest.
        top_ids: [n, num_top] int64, the likeliest first.
        top_logprobs: [n, num_top] float32.
    """

    token_ids: Tensor
    logprobs: Tensor
    ranks: Tensor
    top_ids: Tensor
    top_logprobs: Tensor

    @staticmethod
    def concatenate(parts: Sequence[TokenLogprobs]) -> TokenLogprobs:
        """The parts, all with the same number of likeliest tokens, as one."""
        return TokenLogprobs(
            *(torch.cat(tensors) for tensors in zip(*(part._tensors() for part in parts), strict=True))
        )

    def to_host(self) -> TokenLogprobs:
        """The same in the host's memory."""
        return TokenLogprobs(*(tensor.cpu() for tensor in self._tensors()))

    def entries(self, at: int, num_top: int) -> list[tuple[int, float, int]]:
        """(token id, log-probability, rank) of token number `at`, then of the `num_top` likeliest others."""
        token = int(self.token_ids[at])
        found = [(token, float(self.logprobs[at]), int(self.ranks[at]))]
        top = zip(self.top_ids[at, :num_top].tolist(), self.top_logprobs[at, :num_top].tolist(), strict=True)
        return found + [(other, logprob, rank) for rank, (other, logprob) in enumerate(top, 1) if other != token]

    def __len__(self) -> int:
        return len(self.token_ids)

    def _tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        return self.token_ids, self.logprobs, self.ranks, self.top_ids, self.top_logprobs


PromptLogprobs = TokenLogprobs


@dataclass(frozen=True)
class Sampled:
    """The tokens of a step.

    Attributes:
        token_ids: [num_rows] int64; -1 where the logits were not finite, or nothing was allowed.
        logprobs: of the rows that asked for them, None if none did.
        places: the place in `logprobs` of each row that has one.
    """

    token_ids: Tensor
    logprobs: TokenLogprobs | None
    places: dict[int, int]

    def to_host(self) -> Sampled:
        """The same in the host's memory."""
        return Sampled(self.token_ids.cpu(), self.logprobs and self.logprobs.to_host(), self.places)

    def entries(self, row: int, num_top: int) -> list[tuple[int, float, int]] | None:
        """See `TokenLogprobs.entries`; None for a row that asked for no log-probabilities."""
        if self.logprobs is None or row not in self.places:
            return None
        return self.logprobs.entries(self.places[row], num_top)


def exact_device(device: torch.device) -> torch.device:
    """Where the choice is made for a model on `device`: Apple's GPUs have no float64, and the host's memory."""
    return torch.device("cpu") if device.type == "mps" else device


def prompt_logprobs(logits: Tensor, targets: Tensor, num_top: int) -> PromptLogprobs:
    """Those of the tokens that came next in a prompt.

    Args:
        logits: [n, vocab] float32.
        targets: [n] int64 token ids.
        num_top: how many of the likeliest; of a smaller vocabulary, all.
    """
    device = exact_device(logits.device)
    logits, targets = logits.to(device), targets.to(device)
    return TokenLogprobs(targets, *token_logprobs(logits, targets, min(num_top, logits.shape[-1])))
