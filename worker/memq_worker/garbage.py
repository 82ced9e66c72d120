import gc

# Of what a message is made some twenty objects are followed by the collector, and all go away by themselves; Python's
# own 700 would have it look through them every forty messages, and now and then through the whole program.
_YOUNG, _MIDDLE, _OLD = 10_000, 20, 20


def settle_in() -> None:
    """Once everything is imported: the collector looks at what is there no more, and seldom at the rest."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
