"""Workloads on a bed: who takes part, what is run, watched, ended and recorded."""
