"""The vectors of the vocabulary."""

import torch
from torch import Tensor, nn


class Embedding(nn.Module):
    """A table of vectors; `weight` is [vocab_size, hidden_size]."""

    def __init__(self, vocab_size: int, hidden_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(vocab_size, hidden_size), requires_grad=False)

    def forward(self, ids: Tensor) -> Tensor:
        """[num_tokens] int64 to [num_tokens, hidden_size]."""
        return nn.functional.embedding(ids, self.weight)
