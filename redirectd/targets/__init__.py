"""One file a routing target: encode, parse back, name its reload and read-back; all pure."""
