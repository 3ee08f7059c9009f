from openenv.core.env_server.http_server import create_app

from ..models import CountAction, CountObservation, CountState
from .counter_environment import CounterEnvironment

app = create_app(
    CounterEnvironment,
    CountAction,
    CountObservation,
    env_name="counter",
    max_concurrent_envs=3,
    state_cls=CountState,
)


def main():
    import uvicorn

    uvicorn.run(app, host="127.0.0.1", port=8000)


if __name__ == "__main__":
    main()
