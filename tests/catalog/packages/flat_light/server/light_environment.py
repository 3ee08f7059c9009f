from models import LightAction, LightObservation

from openenv.core.env_server.interfaces import Environment


class LightEnvironment(Environment):
    def reset(self):
        self.now = {"brightness": 0, "step_count": 0}
        return LightObservation()

    def step(self, action: LightAction):
        import bulbs
        from models import LightObservation as SameObservation

        self.now = {"brightness": action.brightness, "step_count": self.now["step_count"] + 1}
        observation = SameObservation(brightness=action.brightness)
        observation.metadata = {"watts": bulbs.WATTS.get(action.brightness, 100)}
        return observation

    @property
    def state(self):
        return self.now
