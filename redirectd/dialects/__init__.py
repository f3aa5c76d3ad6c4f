"""Log formats: one file a dialect, all pure."""
