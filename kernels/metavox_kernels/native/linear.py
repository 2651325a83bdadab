"""Products with weights packed for the processor at hand; ``panels.h``, ``sums.h`` and ``linear.c`` say how."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from metavox_kernels.native.build import load
from metavox_kernels.weight import PackedWeight, Quantization, pack_weight_naive

KINDS = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2, "int8": 3, "int4": 4}
_POINTER, _LONG, _INT = ctypes.c_void_p, ctypes.c_long, ctypes.c_int
_HUGE_PAGE = 2 << 20


@dataclass(frozen=True)
class NativeWeight:
    """A weight in panels of outputs, on the CPU.

    A row of a product has the same bits alone as among others, and with any number of threads. Integers are
    multiplied with x rounded to int8 in groups where the processor has dot products of bytes (AVX512-VNNI,
    AVX-VNNI), bf16 with x rounded to bf16 where it has theirs (AVX512-bf16), everything else in float32.

    Attributes:
        data: [nbytes] uint8, the panels.
        kind: what they hold, a value of `KINDS`.
        shape: [out_features, in_features].
    """

    data: Tensor
    kind: int
    shape: tuple[int, int]

    @property
    def nbytes(self) -> int:
        """The bytes it takes, scales and the padding of the last panel included."""
        return self.data.nbytes

    def linear(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """See `PackedWeight.linear`. Sums are float32, whatever the dtype of `x`.

        Raises:
            ValueError: `x` or `bias` has another number of features.
            MemoryError: there is none left for the rows at hand.
        """
        n, k = self.shape
        if x.ndim != 2 or x.shape[1] != k or (bias is not None and bias.shape != (n,)):
            got = f"x is {list(x.shape)}" + ("" if bias is None else f", bias {list(bias.shape)}")
            raise ValueError(f"a weight [{n}, {k}] multiplies x [num_tokens, {k}], and takes a bias [{n}]; {got}")
        rows = x if x.dtype == torch.float32 else x.float()
        apart, step = rows.stride()
        if step != 1:
            rows, apart = rows.contiguous(), k
        offset = None if bias is None else bias.float().contiguous()
        m = len(x)
        y = rows.new_empty(m, n)
        failed = _library().linear(
            self.data.data_ptr(), self.kind, rows.data_ptr(), apart, None if offset is None else offset.data_ptr(),
            y.data_ptr(), m, n, k, torch.get_num_threads(),
        )  # fmt: skip
        if failed:
            raise MemoryError(f"no memory for a product of {m} rows with a weight [{n}, {k}]")
        return y if x.dtype == torch.float32 else y.to(x.dtype)

    def rows(self, ids: Tensor, dtype: torch.dtype) -> Tensor:
        """See `PackedWeight.rows`.

        Raises:
            IndexError: there is no such row.
        """
        n, k = self.shape
        wanted = ids.long().contiguous()
        found = torch.empty(len(ids), k)
        if _library().unpack(self.data.data_ptr(), self.kind, n, k, wanted.data_ptr(), len(ids), found.data_ptr()):
            raise IndexError(f"rows of a weight [{n}, {k}] are 0 to {n - 1}; {ids.tolist()[:8]} was asked for")
        return found.to(dtype)


def pack_weight(
    parts: Sequence[Tensor], quantization: Quantization | None, dtype: torch.dtype, device: torch.device
) -> PackedWeight:
    """See `pack_weight_naive`: compiled for this CPU where it can be, and no part is copied on the way."""
    kind = KINDS.get(quantization or dtype)
    library = load("linear") if device.type == "cpu" else None
    if library is None or kind is None:
        return pack_weight_naive(parts, quantization, dtype, device)
    n, k = sum(map(len, parts)), parts[0].shape[1]
    library = _library()
    data = _aligned(library.packed_bytes(kind, n, k))
    library.prepare(data.data_ptr(), kind, n, k)
    first = 0
    for part in parts:
        rows = part if part.dtype in KINDS else part.float()
        rows = rows if rows.stride(1) == 1 else rows.contiguous()
        library.pack(
            data.data_ptr(), kind, first, len(rows), k,
            rows.data_ptr(), KINDS[rows.dtype], rows.stride(0), torch.get_num_threads(),
        )  # fmt: skip
        first += len(part)
    return NativeWeight(data, kind, (n, k))


def _aligned(nbytes: int) -> Tensor:
    """[nbytes] uint8; a large one starts on a huge page. The bytes before it are never touched."""
    if nbytes < 2 * _HUGE_PAGE:
        return torch.empty(nbytes, dtype=torch.uint8)
    data = torch.empty(nbytes + _HUGE_PAGE, dtype=torch.uint8)
    start = -data.data_ptr() % _HUGE_PAGE
    return data[start : start + nbytes]


_typed: ctypes.CDLL | None = None


def _library() -> ctypes.CDLL:
    """The library with the types of its functions."""
    global _typed
    if _typed is None:
        library = load("linear")
        assert library is not None
        library.linear.argtypes = [
            _POINTER, _INT, _POINTER, _LONG, _POINTER, _POINTER, _LONG, _LONG, _LONG, _INT,
        ]  # fmt: skip
        library.packed_bytes.argtypes, library.packed_bytes.restype = [_INT, _LONG, _LONG], _LONG
        library.prepare.argtypes, library.prepare.restype = [_POINTER, _INT, _LONG, _LONG], None
        library.pack.argtypes = [_POINTER, _INT, _LONG, _LONG, _LONG, _POINTER, _INT, _LONG, _INT]
        library.pack.restype = None
        library.unpack.argtypes = [_POINTER, _INT, _LONG, _LONG, _POINTER, _LONG, _POINTER]
        _typed = library
    return _typed
