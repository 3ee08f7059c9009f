"""Sessions: one environment each, its rules, the place where it runs, and all of a server's together."""

from openenv.session.deadline import Abandoned
from openenv.session.handle import HostedSession
from openenv.session.hosts import InlineHost, LoopHost, SharedThread, ThreadHost
from openenv.session.limits import Limits
from openenv.session.manager import ManagerStatistics, SessionManager
from openenv.session.phase import Phase
from openenv.session.session import Session, SessionStatistics

__all__ = [
    "Abandoned",
    "HostedSession",
    "InlineHost",
    "Limits",
    "LoopHost",
    "ManagerStatistics",
    "Phase",
    "Session",
    "SessionManager",
    "SessionStatistics",
    "SharedThread",
    "ThreadHost",
]
