"""Dead letters: what no worker could apply, kept by the broker until somebody decides."""

from memq.dead.letter import DeadLetter
from memq.dead.letters import DeadLetters, Listing, Tally
from memq.dead.selection import Attempts, Selection, attempts, duration

__all__ = ["Attempts", "DeadLetter", "DeadLetters", "Listing", "Selection", "Tally", "attempts", "duration"]
