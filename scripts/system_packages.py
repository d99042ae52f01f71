#!/usr/bin/env python3
"""Install Debian packages that the tests use, where that is possible: root on Debian. Elsewhere say nothing and go on.

A test that needs what is not there skips with its reason.

    scripts/system_packages.py PROGRAM=PACKAGE...

installs PACKAGE when PROGRAM cannot be found.
"""

import os
import shutil
import subprocess
import sys

SEARCHED = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
"""Servers lie where only root looks."""


def main() -> int:
    """Install what is missing; never fail for what cannot be had."""
    wanted = [pair.split("=", 1) for pair in sys.argv[1:]]
    missing = [package for program, package in wanted if shutil.which(program, path=SEARCHED) is None]
    if not missing:
        return 0
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(f"not installed, tests that need them are skipped: {' '.join(missing)}", file=sys.stderr)
        return 0
    environment = {
        **os.environ,
        "DEBIAN_FRONTEND": "noninteractive",
        # Servers are started by the tests that need them, on loopback, and by nobody else.
        "RUNLEVEL": "1",
    }
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *missing]
    for command in (install, ["apt-get", "update", "-q"], install):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if command is install and done.returncode == 0:
            return 0
    print(f"could not be installed, tests that need them are skipped: {' '.join(missing)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
