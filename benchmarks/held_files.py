"""Files held in the machine's memory, so that what is measured does not depend on what the machine keeps of them."""

import ctypes
import mmap
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path


@contextmanager
def held_in_memory(places: Iterable[Path]) -> Iterator[None]:
    """Hold files, and those below folders, in memory as they are now; what is added to them later is not held.

    Raises: `OSError` when the system does not allow so much (``ulimit -l``).
    """
    lock = ctypes.CDLL(None, use_errno=True).mlock
    with ExitStack() as stack:
        for place in places:
            for file in [place] if place.is_file() else filter(Path.is_file, place.rglob("*")):
                try:
                    with file.open("r+b") as opened:
                        size = os.fstat(opened.fileno()).st_size
                        if not size:
                            continue
                        held = mmap.mmap(opened.fileno(), size)
                except FileNotFoundError:
                    # A running server recycles its files.
                    continue
                start = ctypes.c_char.from_buffer(held)
                if lock(ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(size)) != 0:
                    raise OSError(
                        ctypes.get_errno(), f"cannot hold a file in memory: {os.strerror(ctypes.get_errno())}"
                    )
                # What refers to a map must be gone before it can be closed.
                stack.callback(held.close)
                del start
        yield
