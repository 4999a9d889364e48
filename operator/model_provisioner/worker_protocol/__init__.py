"""The messages between the controller and its workers, and their format on the channel."""
