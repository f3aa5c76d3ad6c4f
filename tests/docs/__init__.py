"""The documentation is run: every command in it, and what it shows compared with what comes."""
