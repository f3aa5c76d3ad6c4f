"""The configuration file: model, loading, faults with their places."""
