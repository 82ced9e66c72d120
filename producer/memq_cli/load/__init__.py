"""Made-up traffic: who sends what and when, and what became of it."""
