"""Load tests: the benchmark harness, and scenarios for those who test their own installation."""
