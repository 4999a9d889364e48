"""What the refusals of servers mean, with what the user can do about them."""
