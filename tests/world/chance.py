"""What is left to chance: a generator for each thing that draws, all from one seed."""

import random


class Chance:
    """Generators by name. What one draws moves no other, so two runs of a seed differ only where the code does.

    Args:
        seed: decides everything.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._generators: dict[str, random.Random] = {}

    def of(self, name: str) -> random.Random:
        """The generator of this name, the same each time."""
        if name not in self._generators:
            self._generators[name] = random.Random(f"{self._seed} {name}")
        return self._generators[name]
