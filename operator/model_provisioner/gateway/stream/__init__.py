"""The event stream, and what only it needs: its tickets, and whether an operator acts."""
