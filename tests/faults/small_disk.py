"""A disk so small that it can be filled: a file system in memory, which only root can mount."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from postgres import PostgresServer

SIZE = 160
"""Megabytes: an empty cluster takes about 60, its write-ahead log up to 48."""


class SmallDisk:
    """A mounted file system that `fill` leaves no byte of, until `free`."""

    def __init__(self, folder: Path) -> None:
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Take all the space that is left."""
        with self._ballast.open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    continue

    def free(self) -> None:
        """Give the space back."""
        self._ballast.unlink(missing_ok=True)


@contextmanager
def server_on_small_disk() -> Iterator[tuple[PostgresServer, SmallDisk]]:
    """Give a running server whose data and log lie on a small disk; skips the test where none can be mounted."""
    if os.geteuid() != 0:
        pytest.skip("a disk that is full needs a small file system, which only root can mount")
    folder = Path(tempfile.mkdtemp(prefix="openscr-small-disk-"))
    folder.chmod(0o755)
    data = folder / "data"
    data.mkdir()
    try:
        # Whoever made this container may have kept the right to mount.
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={SIZE}m,mode=0700", "openscr", str(data)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if mounted.returncode:
            pytest.skip(f"no small file system can be mounted here: {mounted.stderr.strip()}")
        try:
            server = PostgresServer(
                folder, durable=True, settings={"min_wal_size": "32MB", "max_wal_size": "48MB", "autovacuum": "off"}
            )
            server.adopt_folder(data)
            server.initialise()
            server.start()
            try:
                yield server, SmallDisk(data)
            finally:
                server.stop()
        finally:
            subprocess.run(["umount", "--lazy", str(data)], check=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
