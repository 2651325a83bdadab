"""Grouped-query self-attention over a paged KV cache."""

from torch import Tensor, nn

from metavox.layers.linear import Linear
from metavox.layers.norm import RMSNorm
from metavox_kernels import PagedBatch, paged_attention, rotary, store_kv


class Attention(nn.Module):
    """Self-attention; with `qk_norm`, each head's query and key are normalised before they are rotated.

    `norm_eps` is the epsilon of those norms. `bias` is on all four projections.
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        num_kv_heads: int,
        head_dim: int,
        *,
        bias: bool,
        qk_norm: bool,
        norm_eps: float,
    ) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.scale = head_dim**-0.5
        self.q_proj = Linear(hidden_size, num_heads * head_dim, bias)
        self.k_proj = Linear(hidden_size, num_kv_heads * head_dim, bias)
        self.v_proj = Linear(hidden_size, num_kv_heads * head_dim, bias)
        self.o_proj = Linear(num_heads * head_dim, hidden_size, bias)
        self.q_norm = RMSNorm(head_dim, norm_eps) if qk_norm else None
        self.k_norm = RMSNorm(head_dim, norm_eps) if qk_norm else None

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, key_cache: Tensor, value_cache: Tensor, batch: PagedBatch
    ) -> Tensor:
        """[num_tokens, hidden_size] to the same. Writes the tokens' keys and values into the caches.

        Args:
            x: [num_tokens, hidden_size].
            cos, sin: [num_tokens, head_dim / 2], the angles of the tokens' positions.
            key_cache, value_cache: [num_blocks, block_size, num_kv_heads, head_dim].
            batch: where the tokens lie.
        """
        query = self.q_proj(x).unflatten(-1, (-1, self.head_dim))
        key = self.k_proj(x).unflatten(-1, (-1, self.head_dim))
        value = self.v_proj(x).unflatten(-1, (-1, self.head_dim))
        if self.q_norm is not None and self.k_norm is not None:
            query, key = self.q_norm(query), self.k_norm(key)
        query, key = rotary(query, cos, sin), rotary(key, cos, sin)
        store_kv(key, value, key_cache, value_cache, batch.slot_mapping)
        mixed = paged_attention(query, key_cache, value_cache, batch, self.scale)
        return self.o_proj(mixed.flatten(-2))  # type: ignore[no-any-return]
