"""What processes use: CPU time, memory and disk, from the accounts of the kernel, each with all that it has started.

Spec: 90 §6.4 "what an upload costs".
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from openscr.errors import ConfigurationError

_TICKS: Final = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_PROC: Final = Path("/proc")


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds (user and system) so far, resident MB now, and bytes written towards disks so far."""

    cpu: float = 0.0
    memory: float = 0.0
    written: int = 0

    def since(self, before: "Usage") -> "Usage":
        """Return what was used since an earlier look; memory is that of now."""
        return Usage(self.cpu - before.cpu, self.memory, self.written - before.written)


def usage_of(pids: Iterable[int]) -> Usage:
    """Return what processes and all that they have started use together; what they waited for is counted with them.

    Raises: `ConfigurationError` where there are no such accounts, or no such process.
    """
    cpu = memory = 0.0
    written = 0
    for pid in pids:
        for index, each in enumerate(family_of(pid)):
            try:
                fields = (_PROC / str(each) / "stat").read_text().rpartition(")")[2].split()
                status = (_PROC / str(each) / "status").read_text()
            except OSError:
                if index == 0:
                    raise ConfigurationError(f"there is no process {pid} here whose CPU time could be read") from None
                continue
            cpu += sum(int(fields[place]) for place in (11, 12, 13, 14)) / _TICKS
            memory += int(status.partition("VmRSS:")[2].split()[0]) / 1024 if "VmRSS:" in status else 0.0
            with suppress(OSError):
                accounts = (_PROC / str(each) / "io").read_text()
                written += int(accounts.partition("write_bytes:")[2].split()[0])
    return Usage(cpu, memory, written)


def family_of(pid: int) -> list[int]:
    """Return a process and all that it has started, whatever they have started included."""
    found = [pid]
    for each in found:
        with suppress(OSError):
            for thread in (_PROC / str(each) / "task").iterdir():
                found += [int(child) for child in (thread / "children").read_text().split()]
    return found


def parent_of(pid: int) -> int | None:
    """Return the process that has started another one, none when that cannot be read."""
    with suppress(OSError, IndexError):
        return int((_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
    return None


def name_of(pid: int) -> str:
    """Return the name of a process's program, empty when it cannot be read."""
    with suppress(OSError):
        return (_PROC / str(pid) / "comm").read_text().strip()
    return ""
