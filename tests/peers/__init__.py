"""Tests against real peers: Kamailio, Asterisk, PostgreSQL, MariaDB."""
