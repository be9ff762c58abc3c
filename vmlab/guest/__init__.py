"""The inside of guests: their ssh identity, their cloud-init seed, ssh, readiness, and what they should satisfy."""
