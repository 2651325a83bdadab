"""The pages of the KV cache: who holds them, and which prefix each of them keeps."""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Iterable
from hashlib import blake2b

from numpy import int64
from numpy.typing import NDArray

Tokens = NDArray[int64]


def chain(parent: bytes, tokens: Tokens) -> bytes:
    """The name of a full block: of its tokens and of everything before them.

    16 bytes of BLAKE2b, so that no prompt can be written that is taken for another.
    """
    return blake2b(parent + tokens.tobytes(), digest_size=16).digest()


class BlockPool:
    """Hands out the block numbers 0 .. num_blocks - 1, each to one sequence or to all that share its prefix.

    A block that nobody holds any more keeps its contents and its name until it is needed for something else;
    the one unused longest goes first. Ask `num_free`, then `allocate`.
    """

    def __init__(self, num_blocks: int, block_size: int) -> None:
        self.num_blocks = num_blocks
        self.block_size = block_size
        self.reset()

    def reset(self) -> None:
        """Take back every block and forget every name; tables handed out before mean nothing any more."""
        self._holders = [0] * self.num_blocks
        self._name_of: dict[int, bytes] = {}
        self._block_of: dict[bytes, int] = {}
        self._blank = list(range(self.num_blocks - 1, -1, -1))  # free and nameless
        self._idle: OrderedDict[int, None] = OrderedDict()  # free and named, the longest unused first

    @property
    def num_free(self) -> int:
        """Blocks that nobody holds."""
        return len(self._blank) + len(self._idle)

    def blocks_for(self, num_tokens: int) -> int:
        """How many blocks hold `num_tokens` tokens."""
        return -(-num_tokens // self.block_size)

    def find(self, names: Iterable[bytes]) -> list[int]:
        """The blocks of the longest known run of `names`, from the first on."""
        found: list[int] = []
        for name in names:
            block = self._block_of.get(name)
            if block is None:
                break
            found.append(block)
        return found

    def num_idle(self, blocks: Iterable[int]) -> int:
        """How many of `blocks` nobody holds: taking them makes that many fewer free."""
        return sum(block in self._idle for block in blocks)

    def share(self, blocks: Iterable[int]) -> None:
        """Hold blocks that `find` gave, beside those who hold them already."""
        for block in blocks:
            self._idle.pop(block, None)
            self._holders[block] += 1

    def allocate(self, count: int) -> list[int]:
        """`count` blocks of one's own; needs as many free ones."""
        assert count <= self.num_free
        blocks = [self._blank.pop() if self._blank else self._evict() for _ in range(count)]
        for block in blocks:
            self._holders[block] = 1
        return blocks

    def _evict(self) -> int:
        block, _ = self._idle.popitem(last=False)
        del self._block_of[self._name_of.pop(block)]
        return block

    def publish(self, block: int, name: bytes) -> None:
        """Let others find a full block; the first of two with the same tokens is the one that is found."""
        if name not in self._block_of and block not in self._name_of:
            self._block_of[name] = block
            self._name_of[block] = name

    def release(self, blocks: array[int]) -> None:
        """Give back a sequence's table and leave it empty. Its end goes first when blocks are needed."""
        for block in reversed(blocks):
            self._holders[block] -= 1
            assert self._holders[block] >= 0
            if not self._holders[block]:
                if block in self._name_of:
                    self._idle[block] = None
                else:
                    self._blank.append(block)
        del blocks[:]
