"""The verbs of `openscr.spine` against a remote Spine, over HL7 V3."""
