"""Reading the servers' own configuration files: what is in them, and where. Nothing is ever changed."""
