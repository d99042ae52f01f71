"""How messages are exchanged with a Spine: the five workflows, and the sending again that outlives a process.

Spec: 50 §2.
"""

from openscr.mhs.workflows.dispatch import Workflows

__all__ = ["Workflows"]
