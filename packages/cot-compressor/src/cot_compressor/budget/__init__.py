"""How much is kept: counting tokens, and choosing units under exact budgets."""
