"""Rules for HTTP: allowed addresses, proxies, credentials, signatures, and what headers mean."""
