"""Database servers for the tests of the service that need one."""

from __future__ import annotations

from tests.peers.conftest import postgresql_server, postgresql_url, pytest_runtest_setup

__all__ = ["postgresql_server", "postgresql_url", "pytest_runtest_setup"]
