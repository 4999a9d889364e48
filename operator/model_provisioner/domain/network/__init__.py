"""Rules for HTTP: allowed addresses, proxies, credentials, and what refusals and headers mean."""
