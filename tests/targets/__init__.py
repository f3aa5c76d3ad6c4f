"""The targets: encoders, their readers, and the registry."""
