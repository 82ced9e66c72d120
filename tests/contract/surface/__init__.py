"""Recorded questions to Qdrant 1.18.3, with its answers: one JSON file a subject, asked in order."""
