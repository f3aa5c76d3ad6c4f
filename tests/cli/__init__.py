"""Tests of redirectd.cli."""
