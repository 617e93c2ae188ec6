"""How a chain of thought is read: units, formulas, negations, equations, and text from units again."""
