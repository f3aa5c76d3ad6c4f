"""The review on the terminal: cards, keys, and the sitting that joins them."""
