"""The settings of the long-running programs: one class for each, which defines its flags and environment variables."""
