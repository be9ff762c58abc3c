"""Place nodes on hosts, optimally, or say for every cell what was wanted and what was free."""
