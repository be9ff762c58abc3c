"""What is kept in files: images and the records of runs."""
