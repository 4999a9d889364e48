"""Opens the scheduling gates of pods when their models are Ready, and tells by Events what the others wait for."""
