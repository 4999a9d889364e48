"""Views: directories on a volume in which an engine finds the published models in a layout of its own."""
