"""The state of one download over time: events, the state machine, its status, retries and messages."""
