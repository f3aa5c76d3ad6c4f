"""Tests of redirectd, by the same rooms as the code."""
