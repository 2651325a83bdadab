"""The pages of the KV cache, and who holds them."""

from __future__ import annotations


class BlockAllocator:
    """Hands out the block numbers 0 .. num_blocks - 1. A block table is a list of them, owned by a sequence.

    Ask `can_hold`, then `extend`.
    """

    def __init__(self, num_blocks: int, block_size: int) -> None:
        self.num_blocks = num_blocks
        self.block_size = block_size
        self._free: list[int] = []
        self.reset()

    @property
    def num_free(self) -> int:
        """Blocks that nobody holds."""
        return len(self._free)

    def blocks_for(self, num_tokens: int) -> int:
        """How many blocks hold `num_tokens` tokens."""
        return -(-num_tokens // self.block_size)

    def can_hold(self, table: list[int], num_tokens: int, spare: int = 0) -> bool:
        """Whether `table` can be extended to hold `num_tokens` and leave `spare` blocks free."""
        return self.blocks_for(num_tokens) - len(table) <= self.num_free - spare

    def extend(self, table: list[int], num_tokens: int) -> None:
        """Append free blocks to `table` until it holds `num_tokens`; needs `can_hold`."""
        table.extend(self._free.pop() for _ in range(self.blocks_for(num_tokens) - len(table)))

    def release(self, table: list[int]) -> None:
        """Take back all blocks of `table` and leave it empty."""
        self._free.extend(reversed(table))
        table.clear()

    def reset(self) -> None:
        """Take back every block; tables handed out before mean nothing any more."""
        self._free = list(range(self.num_blocks - 1, -1, -1))
