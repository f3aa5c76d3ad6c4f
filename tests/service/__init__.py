"""Tests of redirectd/service."""
