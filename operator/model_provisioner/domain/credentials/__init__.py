"""What a request is authorised with: tokens, logins, access keys, signatures, and which keys of a Secret they are."""
