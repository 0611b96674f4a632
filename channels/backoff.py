"""When to try again."""

from collections.abc import Callable


def full_jitter(attempt: int, random: Callable[[], float], base: float = 0.1, cap: float = 20.0) -> float:
    """Seconds to wait before try number `attempt`, from 0: between none and base * 2**attempt, at most cap.

    `random` gives numbers in [0, 1). Spreading over the whole range keeps a crowd that was cut off together from
    coming back together ("full jitter": Brooker, Exponential Backoff And Jitter, 2015).
    """
    # The exponent is held down because 2**attempt of a long outage would not fit a float.
    return random() * min(cap, base * 2.0 ** min(attempt, 60))
