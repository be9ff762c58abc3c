"""What figures come to: data in, a verdict with its reason out."""
