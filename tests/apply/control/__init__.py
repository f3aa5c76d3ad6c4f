"""Control channels without a real server: their bytes, their texts and their patience."""
