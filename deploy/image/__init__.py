"""What is left out of the container image, and why. `deploy/Dockerfile` has how it is built."""
