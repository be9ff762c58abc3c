"""Nights: what went wrong in a bed, kept for the morning."""
