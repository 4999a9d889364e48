"""The rules of the project as pure functions and values: no I/O, no event loop, no framework."""
