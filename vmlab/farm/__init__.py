"""Beds as jobs of a scheduler: what a job asks for, and the text that it is. Pure; the queueing is Slurm's."""
