"""The data folder of a service: that one service at a time works there, and the name of the place.

Spec: 00 §4 ``serve``; engine.md "Workers".
"""

import fcntl
import os
import re
import secrets
import socket
from hashlib import blake2b
from pathlib import Path
from typing import IO

from openscr.errors import ConfigurationError


def hold(data: Path) -> IO[bytes]:
    """Keep a data folder to ourselves until the file is closed, here and wherever it was inherited.

    Two services of one place would take each other's messages for their own. Raises: `ConfigurationError` if another
    one has it.
    """
    file = (data / "serve.lock").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise ConfigurationError(
            f"data {data}: another openscr serve runs on this folder; stop it, or name another with --data"
        ) from error
    return file


def place_of(data: Path) -> str:
    """Return what the holders of a data folder begin with: the machine's name, for people, and what is unique.

    It stays the same from start to start. A copy of the folder, on this machine or another, is another place. Only who
    holds the folder may ask.
    """
    file = data / "place"
    try:
        secret = file.read_text("ascii").strip()
    except FileNotFoundError:
        secret = secrets.token_hex(16)
        new = data / "place.new"
        new.write_text(secret + "\n", "ascii")
        os.replace(new, file)
    machine = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())[:40]
    own = blake2b(f"{secret}\n{machine}\n{data.resolve()}".encode(), digest_size=6).hexdigest()
    return f"{machine}-{own}/"
