"""The configuration files of engines that serve many models, such as the router of llama.cpp.

Pure functions: which models an engine can serve, and how its file lists them. `controller.catalog` writes the files to
ConfigMaps.
"""
