"""What figures are worth: against references, other runs, weeks of runs. Data in, a verdict with its reason out.

No workload is known here: records and samples say all that is needed.
"""
