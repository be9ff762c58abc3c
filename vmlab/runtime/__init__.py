"""Processes, clocks, threads, locks and files: each outside world has one door here."""
