"""Tests of what is shipped: wheel, source archive, Debian package."""
