"""Load and cost: synthetic requests at an open rate, what a message costs the server, stores of any size, planning.

Spec: 00 §4 ``bench``; 90 §4-§7.
"""
