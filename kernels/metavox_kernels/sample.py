"""The choice of the next token: temperature, top-k, top-p (Holtzman et al., 2020, arXiv:1904.09751)."""

import torch
from torch import Tensor


def sample_naive(logits: Tensor, temperature: Tensor, top_k: Tensor, top_p: Tensor, uniform: Tensor) -> Tensor:
    """Choose one token a row by inverting the filtered distribution's CDF at `uniform`.

    A row's choice depends on that row alone, so a sequence draws the same token alone or in a batch.
    Equal logits keep the order of their ids.

    Args:
        logits: [num_seqs, vocab] floating.
        temperature: [num_seqs] float32; 0 takes the largest logit, the first one of equals.
        top_k: [num_seqs] int64; the number of likeliest tokens to keep, 0 or less for all.
        top_p: [num_seqs] float32 in (0, 1]; applied after top_k, to what it left, renormalised.
        uniform: [num_seqs] float32 in [0, 1).

    Returns:
        [num_seqs] int64 token ids.
    """
    greedy = logits.argmax(-1)
    if not bool((temperature > 0).any()):
        return greedy
    scaled = logits.float() / temperature.clamp_min(1e-6).unsqueeze(1)
    probs, ids = _ordered_probs(scaled, top_k, top_p)
    cumulative = probs.cumsum(-1)
    target = uniform.unsqueeze(1) * cumulative[:, -1:]
    last = (probs > 0).sum(-1, keepdim=True) - 1
    place = torch.minimum(torch.searchsorted(cumulative, target, right=True), last)
    return torch.where(temperature > 0, ids.gather(1, place).squeeze(1), greedy)


def filtered_probs_naive(logits: Tensor, top_k: Tensor, top_p: Tensor) -> Tensor:
    """The distribution over what top-k, then top-p leave.

    Args:
        logits: [num_seqs, vocab] float32, already divided by the temperature.
        top_k, top_p: as in `sample_naive`.

    Returns:
        [num_seqs, vocab] float32; zero for what is filtered out, a row's sum is 1.
    """
    probs, ids = _ordered_probs(logits, top_k, top_p)
    return torch.zeros_like(probs).scatter(1, ids, probs / probs.sum(-1, keepdim=True))


def _ordered_probs(logits: Tensor, top_k: Tensor, top_p: Tensor) -> tuple[Tensor, Tensor]:
    """Likeliest first: what is left of the probabilities, not renormalised after top-p, and the token ids."""
    vocab = logits.shape[-1]
    ordered, ids = torch.sort(logits, dim=-1, descending=True, stable=True)
    keep = torch.where(top_k > 0, top_k, vocab).unsqueeze(1)
    rank = torch.arange(vocab, device=logits.device)
    probs = ordered.masked_fill(rank >= keep, float("-inf")).softmax(-1)
    before = probs.cumsum(-1) - probs
    # Rounding must neither cut top_p = 1 nor leave nothing at all: a top_p of 1e-50 is 0 in float32.
    nucleus = (before < top_p.unsqueeze(1)) | (top_p.unsqueeze(1) >= 1) | (rank == 0)
    return torch.where(nucleus, probs, 0.0), ids
