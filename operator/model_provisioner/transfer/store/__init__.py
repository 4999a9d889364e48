"""The store on a volume: published files, parts with their journals, and holder records."""
