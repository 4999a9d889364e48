"""Views on a volume: directories with the published files in the layout of an engine."""
