"""Deficit round robin: which lane's turn it is."""

import math
from collections.abc import Mapping


class Lane:
    """The scheduler's account of one lane. `credit` counts points: what the lane may still write in this round."""

    __slots__ = ("active", "credit", "name", "weight")

    def __init__(self, name: str, weight: float, credit: float) -> None:
        self.name = name
        self.weight = weight
        self.credit = credit
        self.active = False


class Round:
    """Shares the store among lanes by points: per round each lane may write `quantum` points times its weight.

    A lane that had nothing waiting goes to the front of the round. It keeps what it owes: a lane that wrote more than
    its share waits for the next round, however often it runs empty in between.

    quantum: points per round of a lane with weight 1.   weights: by lane; other lanes have weight 1.
    """

    def __init__(self, quantum: int, weights: Mapping[str, float] | None = None) -> None:
        self._quantum = quantum
        self._weights = dict(weights or {})
        self._lanes: dict[str, Lane] = {}
        self._order: list[Lane] = []

    def __len__(self) -> int:
        return len(self._order)

    def lane(self, name: str) -> Lane:
        lane = self._lanes.get(name)
        if lane is None:
            weight = self._weights.get(name, 1.0)
            lane = self._lanes[name] = Lane(name, weight, self._quantum * weight)
        return lane

    def weigh(self, weights: Mapping[str, float]) -> None:
        """Change the weights, by lane, of lanes that are there and of lanes to come; others have weight 1."""
        self._weights = dict(weights)
        for lane in self._lanes.values():
            lane.weight = self._weights.get(lane.name, 1.0)

    def enter(self, name: str) -> None:
        """Put a lane that has something waiting at the front. No effect on a lane that is in the round."""
        lane = self.lane(name)
        if not lane.active:
            lane.active = True
            self._order.insert(0, lane)

    def leave(self, name: str) -> None:
        """Take a lane that has nothing waiting out of the round."""
        lane = self.lane(name)
        if lane.active:
            lane.active = False
            self._order.remove(lane)

    def forget(self, name: str) -> None:
        """Drop a lane that no longer exists."""
        self.leave(name)
        self._lanes.pop(name, None)

    def turns(self) -> list[Lane]:
        """Lanes in the order in which they may write now: those with credit, then those that wait for a new round."""
        if len(self._order) == 1:
            return self._order[:]
        return sorted(self._order, key=self._rounds_left)

    def _rounds_left(self, lane: Lane) -> int:
        return 0 if lane.credit > 0 else 1 + math.floor(-lane.credit / (self._quantum * lane.weight))

    def begin(self, name: str) -> None:
        """Give a lane its turn: begin new rounds until it has credit, and move it to the back."""
        lane = self.lane(name)
        for _ in range(self._rounds_left(lane)):
            for each in self._lanes.values():
                share = self._quantum * each.weight
                each.credit = min(each.credit + share, share)
        if lane.active:
            self._order.remove(lane)
            self._order.append(lane)

    def charge(self, name: str, points: int) -> None:
        """Count points that a lane has begun to write, at least one."""
        self.lane(name).credit -= max(points, 1)
