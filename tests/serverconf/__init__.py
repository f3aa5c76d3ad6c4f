"""Tests of the room that reads the configuration of the servers."""
