"""Sources: files once and followed, journal, HEP."""
