"""The event stream, and what only it needs: its limits, its tickets, and whether an operator acts."""
