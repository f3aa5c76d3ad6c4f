"""The laboratory: real SIP servers and databases as children of a test, on loopback only."""
