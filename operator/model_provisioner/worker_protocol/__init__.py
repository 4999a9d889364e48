"""What the operator and its workers say to each other, over whatever channel connects them."""
