"""What records were before a flush, so that it can be taken back: copies of the rows that kernels are about to write.

Rows may come more than once: written back last row first, the oldest copy wins.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from ingest_service.columns import Array

AHEAD = 12  # rows that are fetched ahead: a microsecond of work, ten times what memory takes
LINE_WORDS = 16  # of a cache line of 64 bytes
SPARE = 64  # copies of a width that wait to be used again: two flushes of all properties of some ten kinds


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(_typing: Any, words: Any, row: Any, word: Any) -> Any:
    """Ask for the cache line of words[row, word], (records, width) uint32, and go on without it."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        stride = cgutils.unpack_tuple(builder, array.strides)[0]
        start = builder.ptrtoint(array.data, ir.IntType(64))
        offset = builder.add(builder.mul(args[1], stride), builder.shl(args[2], ir.Constant(ir.IntType(64), 2)))
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, number, number, number])
        asked = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        place = builder.inttoptr(builder.add(start, offset), cgutils.voidptr_t)
        builder.call(asked, [place, ir.Constant(number, 1), ir.Constant(number, 3), ir.Constant(number, 1)])
        return context.get_dummy_value()

    return types.void(words, types.int64, types.int64), code


def keeper(width: int) -> Callable[[Array, Array, Array, int], None]:
    """A kernel for records of so many words (known to the compiler, which then needs no loop): copy row slot[row] of
    words, (records, width), into that row of before, (n, width), and ask for what a later row will need.
    """

    @numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
    def keep(words: Array, slot: Array, before: Array, row: int) -> None:
        if row + AHEAD < len(slot):
            later = slot[np.uint64(row + AHEAD)]
            for word in range(0, width, LINE_WORDS):
                prefetch(words, later, word)
            prefetch(words, later, width - 1)
        at = np.uint64(slot[np.uint64(row)])
        for word in range(width):
            before[np.uint64(row), np.uint64(word)] = words[at, np.uint64(word)]

    return keep  # type: ignore[no-any-return]


def words_of(records: Array) -> Array:
    """Records as rows of 32-bit words, over the same bytes."""
    return records.view(np.ndarray).view(np.uint32).reshape(len(records), records.dtype.itemsize // 4)


class Spare:
    """Memory for copies, used again and again: fresh pages would cost more than what is written on them."""

    def __init__(self) -> None:
        self._free: dict[int, list[Array]] = {}  # by width

    def rows(self, n: int, width: int) -> Array:
        """(n, width) uint32 with anything in it."""
        free = self._free.setdefault(width, [])
        at = next((at for at, memory in enumerate(free) if len(memory) >= n), None)
        memory = np.empty((n + n // 4, width), np.uint32) if at is None else free.pop(at)
        rows: Array = memory[:n]
        return rows

    def give_back(self, rows: Array) -> None:
        """What `rows` gave is needed no more."""
        memory: Any = rows.base
        free = self._free.setdefault(rows.shape[1], [])
        free.append(memory)
        del free[:-SPARE]
