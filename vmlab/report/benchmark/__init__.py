"""The report of runs: what is put on its page, and its other forms. Which chart a figure gets is told by its labels."""
