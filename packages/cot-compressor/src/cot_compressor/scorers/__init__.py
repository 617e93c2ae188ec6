"""What is kept first: the scorer by rules, the trained token classifier, and its folder."""
