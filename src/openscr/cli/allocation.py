"""Memory of large messages goes back to the system as soon as they are gone.

glibc keeps what was freed for the next request of that size, and once it has seen large blocks it takes them from a
heap in which one small block holds up all the rest. A process that now and then has a message of some megabytes would
keep ten times as much for ever.

Spec: 50 §14.4 A5.
"""

import ctypes
import os
import sys
from typing import Final

LARGE: Final = 1024 * 1024
"""Bytes from which on a block is the system's own."""

_MMAP_THRESHOLD: Final = -3
"""``M_MMAP_THRESHOLD`` of ``<malloc.h>``."""


def give_large_memory_back() -> None:
    """Have this process take large blocks from the system and give them back, unless its environment says otherwise.

    Where the C library has no such knob nothing is done.
    """
    if sys.platform != "linux" or "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, LARGE)
