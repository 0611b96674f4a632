"""The protocol, rankings, deltas and fan-out of Plaudit, and its Python client. No database, no web framework."""
