"""Fast clients, each a process of its own, so that they are not what is measured."""
