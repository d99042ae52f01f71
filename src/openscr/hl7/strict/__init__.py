"""Level ``strict``: the whole schema semantics of every message, from our own tables, and no dangling pointers.

A message is judged by a grammar (`grammar`, `judge`) in one pass. The grammar of a GP Summary is made from the shapes
that read and write it (`shapes`); everything around and beside it has tables of its own.

Spec: 10 §11.5.
"""

from openscr.hl7.strict.check import STRICT_INTERACTIONS, check_strict

__all__ = ["STRICT_INTERACTIONS", "check_strict"]
