"""Pairing, deduplication and the rules that make sightings of answers."""
