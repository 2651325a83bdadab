"""The gated feed-forward layer, alone and as one of many experts."""

from __future__ import annotations

import torch
from torch import Tensor

from metavox.layers.linear import read_linear
from metavox.layers.reader import WeightReader
from metavox.models.config import DecoderConfig, ExpertsConfig
from metavox_kernels import gelu_tanh_and_mul, silu_and_mul

GATES = {"silu": silu_and_mul, "gelu_tanh": gelu_tanh_and_mul}


class FeedForward:
    """``down(act(gate(x)) * up(x))`` with `inner` gates (Shazeer, 2020, arXiv:2002.05202)."""

    def __init__(self, config: DecoderConfig, inner: int, reader: WeightReader, prefix: str) -> None:
        hidden, bias = config.hidden_size, config.mlp_bias
        parts = {"gate_up_proj": 2 * inner} if config.fused else {"gate_proj": inner, "up_proj": inner}
        self.gate_up_proj = read_linear(reader, prefix, parts, hidden, bias=bias)
        self.down_proj = read_linear(reader, prefix, {"down_proj": hidden}, inner, bias=bias)
        self.gate = GATES[config.hidden_act]

    def __call__(self, x: Tensor) -> Tensor:
        """[num_tokens, hidden_size] to the same."""
        return self.down_proj(self.gate(self.gate_up_proj(x)))


class MixtureOfExperts:
    """Each token goes to the few experts that a router gives the largest weights (Fedus et al., 2021,
    arXiv:2101.03961), whose answers are added up in the order of these."""

    def __init__(self, config: DecoderConfig, experts: ExpertsConfig, reader: WeightReader, prefix: str) -> None:
        gate = (f"{prefix}gate.weight", experts.num_experts)
        self.router = reader.matrix([gate], config.hidden_size, "router")
        self.experts = [
            FeedForward(config, experts.intermediate_size, reader, f"{prefix}experts.{i}.")
            for i in range(experts.num_experts)
        ]
        self.top_k, self.norm_topk_prob = experts.num_experts_per_tok, experts.norm_topk_prob

    def __call__(self, x: Tensor) -> Tensor:
        """[num_tokens, hidden_size] to the same."""
        weights, chosen = self.route(x)
        order = chosen.flatten().argsort(stable=True)
        counts = torch.bincount(chosen.flatten(), minlength=len(self.experts)).tolist()
        answers = torch.empty(len(order), x.shape[1], dtype=x.dtype, device=x.device)
        answers[order] = self._ask(x[order // self.top_k], counts)
        answers = answers.view(len(x), self.top_k, -1) * weights.unsqueeze(-1)
        # One by one: the order of a reduction may depend on the number of tokens, and the last bits on the order.
        total = answers[:, 0]
        for i in range(1, self.top_k):
            total = total + answers[:, i]
        return total

    def route(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The weights of each token's experts and their numbers, largest first, both [num_tokens, top_k]."""
        probs = self.router.linear(x).softmax(-1, dtype=torch.float32)
        weights, chosen = probs.topk(self.top_k, dim=-1)
        if self.norm_topk_prob:
            weights = weights / weights.sum(-1, keepdim=True)
        return weights.to(x.dtype), chosen

    def _ask(self, rows: Tensor, counts: list[int]) -> Tensor:
        """The answers to `rows`, of which the first counts[0] go to expert 0, the next counts[1] to expert 1 ..."""
        pieces = zip(self.experts, torch.split(rows, counts), strict=True)
        return torch.cat([expert(piece) for expert, piece in pieces if len(piece)])
