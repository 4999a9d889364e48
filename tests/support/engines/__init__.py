"""A real engine and a real model for tests: llama.cpp's server from Debian, and Gemma 3 270M from the Python index."""
