"""The connections of worker pods: certificates, tokens, lines in and out, and what may be said."""
