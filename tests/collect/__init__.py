"""Tests of pairing, deduplication and the rules."""
