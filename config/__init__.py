"""What the operator sets (settings) and what the world offers (the catalogue of models)."""
