"""What is wanted against what is there: the actions that lead from one to the other, each with its reason."""
