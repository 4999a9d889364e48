"""The HTTP client for every URL that a model ref leads to: libcurl, the address guard, TLS and the proxy."""
