"""Which node is the best for a build now: pure, from what is known of the farm."""

from exporter.routing.handouts import Handout, Handouts
from exporter.routing.ranking import Candidate, LeftOut, Ranking, order, rank

__all__ = ["Candidate", "Handout", "Handouts", "LeftOut", "Ranking", "order", "rank"]
