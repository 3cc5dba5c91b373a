"""An exported model: what runs its files, and what proves that they are right."""
