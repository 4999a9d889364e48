"""Serves an aiohttp application under limits: connections, deadlines, sizes. No routes; `server` is the entry."""
