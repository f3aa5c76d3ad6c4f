"""Deciding: what holds a remap, which change of state is allowed, and what it does to others."""
