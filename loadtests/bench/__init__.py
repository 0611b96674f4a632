"""`make bench`: every case beside its floor, in one run, on this machine.

A case starts a server of its own (`lab`), loads it from processes of their own (`clients`), measures in the same
run what the machine could do at best (`floors`), and answers a `Measurement`. Absolute figures move with the
machine; the ratios are the point.
"""
