"""What routing should be: effective table, changes, safety limits; all pure."""
