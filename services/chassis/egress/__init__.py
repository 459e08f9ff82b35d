"""The way out: to what tenants name, and nothing inside is reached; and the secrets sent along."""
