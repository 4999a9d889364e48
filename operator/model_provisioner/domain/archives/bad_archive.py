"""The error for an archive that is not read, within this room: `transfer.sources.archives` gives it a reason.

Every module of the room raises it. What is said of a manifest or of a layer does not belong here.
"""


class BadArchive(Exception):
    """An archive that is damaged, or uses what is not read. The text is a clause with the archive as its subject."""
