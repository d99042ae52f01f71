"""The summary as a clinician would recognise it, without XML."""
