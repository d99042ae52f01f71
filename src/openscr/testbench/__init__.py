"""The demo world: its directory, its patients, fresh sample messages. Never imported by a face."""
