"""The review on the terminal: cards, keys, and the session that joins them."""
