from __future__ import annotations


class Missing(Exception):
    """This machine cannot run the experiment; says what it lacks."""
