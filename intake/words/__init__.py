"""What people write in tables: names, numbers, dates and codes."""
