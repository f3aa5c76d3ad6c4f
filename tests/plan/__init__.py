"""Plan: effective table, changes, limits."""
