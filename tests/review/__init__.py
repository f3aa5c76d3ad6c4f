"""Tests of holds, decisions and all that a reviewer sees."""
