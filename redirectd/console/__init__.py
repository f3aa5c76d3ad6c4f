"""The REST API, a process of its own over the same functions as the commands."""
