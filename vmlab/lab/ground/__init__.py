"""What the rooms above stand on: a bed found and held, its guests and their stages, the image store, progress."""
