"""Where bytes come from: files, pipes, journal, HEP."""
