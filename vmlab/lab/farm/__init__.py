"""The farm: beds and nights that are handed to Slurm, which runs them on hosts that are free."""
