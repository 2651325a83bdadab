"""The shape that the engine is measured on, and what one step of it must read and compute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

BITS = {"bfloat16": 16.0, "int8": 8.5, "int4": 4.5}  # a weight with its share of the scale of 32, in float16


@dataclass(frozen=True)
class Shape:
    """A decoder with tied embeddings and the norms of Qwen3; the names are those of config.json."""

    hidden_size: int = 1024
    num_hidden_layers: int = 28
    num_attention_heads: int = 16
    num_key_value_heads: int = 8
    head_dim: int = 128
    intermediate_size: int = 3072
    vocab_size: int = 151_936

    @property
    def query_size(self) -> int:
        """Elements of the queries of one token in one layer."""
        return self.num_attention_heads * self.head_dim

    @property
    def kv_size(self) -> int:
        """Elements of the keys of one token in one layer, and as many of its values."""
        return self.num_key_value_heads * self.head_dim

    @property
    def layer_parameters(self) -> int:
        """Elements of the matrices of all layers."""
        attention = self.hidden_size * (2 * self.query_size + 2 * self.kv_size)
        return self.num_hidden_layers * (attention + 3 * self.hidden_size * self.intermediate_size)

    @property
    def head_parameters(self) -> int:
        """Elements of the output matrix, which is also the embedding table."""
        return self.vocab_size * self.hidden_size

    def kv_bytes(self, num_tokens: float, bits: float = 16) -> float:
        """Bytes of the keys and values of that many tokens."""
        return num_tokens * 2 * self.num_hidden_layers * self.kv_size * bits / 8

    def weight_bytes(self, layers: str = "bfloat16", head: str = "bfloat16") -> float:
        """Bytes of the matrices, the layers' and the output's kept as in `BITS`."""
        return (self.layer_parameters * BITS[layers] + self.head_parameters * BITS[head]) / 8

    def attention_flops(self, num_pairs: float) -> float:
        """Floating-point operations of attention for that many pairs of a query and a key it looks at."""
        return 4.0 * self.num_hidden_layers * self.query_size * num_pairs

    def config(self) -> dict[str, Any]:
        """The config.json of a checkpoint of this shape."""
        numbers = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return numbers | {
            "architectures": ["Qwen3ForCausalLM"],
            "model_type": "qwen3",
            "attention_bias": False,
            "bos_token_id": 1,
            "dtype": "bfloat16",
            "eos_token_id": 2,
            "hidden_act": "silu",
            "max_position_embeddings": 4096,
            "rms_norm_eps": 1e-6,
            "rope_theta": 1_000_000.0,
            "tie_word_embeddings": True,
        }


QWEN3_0_6B = Shape()
