from fastapi import Request

from openenv.core.env_server import create_fastapi_app
from openenv.core.env_server.interfaces import Environment

from ..models import Balance, Entry, LedgerState


class Ledger(Environment):
    def __init__(self, opening):
        super().__init__()
        self.opening = opening
        self.book = LedgerState(balance=opening)

    def reset(self, seed=None, episode_id=None):
        self.book = LedgerState(episode_id=episode_id, balance=self.opening, notes=[])
        return Balance(balance=self.opening)

    def step(self, action):
        self.book.step_count += 1
        self.book.balance += action.amount
        self.book.notes = [*self.book.notes, action.note]
        return Balance(balance=self.book.balance, reward=action.amount)

    @property
    def state(self):
        return self.book


_ledger = Ledger(opening=100.0)


def make_ledger():
    return _ledger


app = create_fastapi_app(make_ledger, Entry, Balance, env_name="ledger", state_cls=LedgerState)


@app.get("/audit")
def audit():
    return {"notes": _ledger.book.notes}


@app.middleware("http")
async def stamp(request: Request, call_next):
    response = await call_next(request)
    response.headers["X-Ledger"] = "stamped"
    return response
