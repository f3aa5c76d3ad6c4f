"""Tests of redirectd.config."""
