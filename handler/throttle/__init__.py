"""Who may ask how often: client keys, token buckets, the bound on waiting work."""
