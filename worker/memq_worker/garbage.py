import gc

# Of what a message is made some twenty objects are followed by the collector, and all go away by themselves; Python's
# own 700 would have it look through them every forty messages, and now and then through the whole program.
_YOUNG, _MIDDLE, _OLD = 10_000, 20, 20


def settle_in() -> None:
    """Freeze imported objects and make garbage collections rare. Call it after all imports."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
