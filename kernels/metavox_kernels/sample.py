"""The choice of the next token: masks, penalties, temperature, min-p, top-k, top-p, and log-probabilities.

Everything here is made of single IEEE operations in a fixed order and of sums that are exact, so that every
version of these ops chooses the same token from the same logits, on any device and with any number of threads.
The exact sums are why weights are whole numbers, see `weights_naive`.
"""

import torch
from torch import Tensor

# A token's weight is a whole number up to 2**34. A float64 adds up 2**19 = 524,288 of them without rounding.
WEIGHT_ONE = 2.0**34
LOG2_E = 1.44269504088896341
LN_2_HIGH, LN_2_LOW = 0.693359375, -2.12194440e-4  # their sum is ln 2; a small integer times the first is exact
# The minimax polynomial of Cephes' expf for (exp(r) - 1 - r) / r**2, |r| <= ln(2) / 2; highest power first.
EXP_COEFFICIENTS = (
    1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1,
)  # fmt: skip
LEAST_EXPONENT = -87.0  # exp of it is far below any weight, and no subnormal
FLOAT32_MAX = torch.finfo(torch.float32).max


def greedy_naive(logits: Tensor) -> Tensor:
    """The largest logit of each row, the first one of equals.

    Args:
        logits: [num_rows, vocab] float32; -inf for what must not be chosen.

    Returns:
        [num_rows] int64 token ids; -1 for a row that holds NaN or +inf, or nothing but -inf.
    """
    usable = (logits < float("inf")).all(-1) & (logits.amax(-1) > float("-inf"))
    return torch.where(usable, logits.argmax(-1), -1)


def sample_naive(
    logits: Tensor, temperature: Tensor, top_k: Tensor, top_p: Tensor, min_p: Tensor, uniform: Tensor
) -> Tensor:
    """Choose one token a row by inverting the filtered distribution's CDF, in the order of ids, at `uniform`.

    A row's choice depends on that row alone, so a sequence draws the same token alone or in a batch.

    Args:
        logits: [num_rows, vocab] float32; -inf for what must not be chosen.
        temperature: [num_rows] float32; 0 takes the largest logit, the first one of equals.
        top_k: [num_rows] int64; the number of likeliest tokens to keep, 0 or less for all. Of equal logits the
            lower ids are kept.
        top_p: [num_rows] float64 in (0, 1]; keep the fewest of the likeliest tokens that hold this part of what
            min_p and top_k left (Holtzman et al., 2020, arXiv:1904.09751).
        min_p: [num_rows] float32 in [0, 1]; keep the tokens of at least this part of the likeliest one's
            probability (Nguyen et al., 2024, arXiv:2407.01082).
        uniform: [num_rows] float64 in [0, 1).

    Returns:
        [num_rows] int64 token ids; -1 for a row that holds NaN or +inf, or nothing but -inf.
    """
    likeliest = greedy_naive(logits)
    kept = kept_weights_naive(logits, temperature, top_k, top_p, min_p)
    return torch.where((temperature > 0) & (likeliest >= 0), _inverse_cdf(kept, uniform), likeliest)


def kept_weights_naive(logits: Tensor, temperature: Tensor, top_k: Tensor, top_p: Tensor, min_p: Tensor) -> Tensor:
    """The distribution that `sample_naive` draws from, with the same arguments.

    Returns:
        [num_rows, vocab] float64 weights; zero for what is filtered out. They are not normalised.
    """
    vocab = logits.shape[-1]
    ordered, ids = torch.sort(logits, dim=-1, descending=True, stable=True)
    weights = weights_naive(ordered, temperature)
    rank = torch.arange(vocab, device=logits.device)
    keep = (rank < torch.where(top_k > 0, top_k, vocab).unsqueeze(1)) & (weights >= min_p.unsqueeze(1))
    whole = torch.where(keep, (weights * WEIGHT_ONE).round(), 0.0).double()
    cumulative = whole.cumsum(-1)
    wanted = top_p.double().unsqueeze(1)
    # A top_p that underflows must not leave nothing at all.
    nucleus = (cumulative - whole < wanted * cumulative[:, -1:]) | (wanted >= 1) | (rank == 0)
    return torch.zeros_like(whole).scatter(1, ids, torch.where(nucleus, whole, 0.0))


def weights_naive(logits: Tensor, temperature: Tensor) -> Tensor:
    """The probabilities over the largest one: exp((logit - largest) / temperature) by Cephes' polynomial.

    `sample_naive` sums them rounded to whole multiples of 1 / `WEIGHT_ONE`, which is exact: a token's probability
    is off by at most 2**-35 of the likeliest one's, and one below that is never drawn.

    Returns:
        [num_rows, vocab] float32 in [0, 1].
    """
    scale = (1.0 / temperature).clamp_max(FLOAT32_MAX).unsqueeze(1)
    exponent = ((logits - logits.amax(-1, keepdim=True)) * scale).clamp_min(LEAST_EXPONENT)
    twos = (exponent * LOG2_E + 0.5).floor()
    rest = exponent - twos * LN_2_HIGH - twos * LN_2_LOW
    value = torch.full_like(rest, EXP_COEFFICIENTS[0])
    for coefficient in EXP_COEFFICIENTS[1:]:
        value = value * rest + coefficient
    value = value * (rest * rest) + rest + 1.0
    return value * ((twos.to(torch.int32) + 127) << 23).view(torch.float32)


def _inverse_cdf(weights: Tensor, uniform: Tensor) -> Tensor:
    """The first id at which the sum of `weights` exceeds `uniform` of the whole."""
    cumulative = weights.cumsum(-1)
    target = uniform.double().unsqueeze(1) * cumulative[:, -1:]
    last = weights.shape[-1] - 1 - (weights > 0).flip(-1).int().argmax(-1, keepdim=True)
    return torch.minimum(torch.searchsorted(cumulative, target, right=True), last).squeeze(1)


def mask_logits_naive(logits: Tensor, rows: Tensor, allowed: Tensor) -> None:
    """Set the logits that are not allowed to -inf, in place.

    Args:
        logits: [num_rows, vocab] float32.
        rows: [num_masks] int64, the row that each mask is for; no row twice.
        allowed: [num_masks, ceil(vocab / 32)] int32; bit i % 32 of word i // 32 allows token i.
    """
    bits = torch.arange(32, dtype=torch.int32, device=logits.device)
    flags = ((allowed.unsqueeze(-1) >> bits) & 1).bool().flatten(1)[:, : logits.shape[-1]]
    logits[rows] = logits[rows].masked_fill(~flags, float("-inf"))


def penalize_naive(
    logits: Tensor,
    rows: Tensor,
    history: Tensor,
    slots: Tensor,
    repetition: Tensor,
    presence: Tensor,
    frequency: Tensor,
) -> None:
    """Make tokens that were there before less likely, in place.

    Where a token is in the prompt or the output, a positive logit is divided by `repetition` and another one
    multiplied by it (Keskar et al., 2019, arXiv:1909.05858). Then `frequency` times its count in the output is
    subtracted, then `presence` where that count is not 0.

    Args:
        logits: [num_rows, vocab] float32.
        rows: [num_penalized] int64, the rows that are penalized; none twice.
        history: [num_slots, vocab] int32; twice a token's count in the output, plus 1 if it is in the prompt.
        slots: [num_penalized] int64, the row of `history` for each of `rows`.
        repetition, presence, frequency: [num_penalized] float32; 1, 0 and 0 change nothing.
    """
    chosen, seen = logits[rows], history[slots]
    factor = repetition.unsqueeze(1)
    chosen = torch.where(seen != 0, torch.where(chosen > 0, chosen / factor, chosen * factor), chosen)
    chosen = chosen - frequency.unsqueeze(1) * (seen >> 1)
    logits[rows] = chosen - presence.unsqueeze(1) * (seen > 1)


def token_logprobs_naive(logits: Tensor, tokens: Tensor, num_top: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The log-softmax at one token a row, and the likeliest tokens.

    Args:
        logits: [num_rows, vocab] float32, finite or -inf.
        tokens: [num_rows] int64, ids or -1 for a row whose answer does not matter.
        num_top: how many of the likeliest to give; lower ids first of equals. At most vocab.

    Returns:
        The tokens' log-probabilities [num_rows] float32 (nats); their ranks [num_rows] int64, which are the
        numbers of tokens that are at least as likely, 1 for the likeliest; ids [num_rows, num_top] int64 and
        log-probabilities [num_rows, num_top] float32 of the likeliest, descending.
    """
    largest = logits.amax(-1, keepdim=True)
    weights = weights_naive(logits, torch.ones_like(largest[:, 0]))
    total = (weights * WEIGHT_ONE).round().double().sum(-1, keepdim=True)
    normaliser = torch.log(total / WEIGHT_ONE)
    at_token = logits.gather(1, tokens.clamp_min(0).unsqueeze(1))
    ordered, ids = torch.sort(logits, dim=-1, descending=True, stable=True)
    logprobs = ((torch.cat([at_token, ordered[:, :num_top]], 1) - largest).double() - normaliser).float()
    return logprobs[:, 0], (logits >= at_token).sum(-1), ids[:, :num_top], logprobs[:, 1:]
