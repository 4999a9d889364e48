"""Real engines on what the operator has provisioned: a real model, and llama.cpp's server as a process."""
