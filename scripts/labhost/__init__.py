"""Builds and runs the emulated lab host: see scripts/lab-host."""
