"""How logs write SIP down: one file a dialect, all pure."""
