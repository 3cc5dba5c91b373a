"""What a fit minimises, as functions of the weights and of people's survival data."""
