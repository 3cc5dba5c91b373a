"""Reading of people from any table, file or object, and checks of their values."""
