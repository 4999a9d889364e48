"""The HTTP API in requests and responses: its calls, their documents and their handlers; not the event stream."""
