try:
    from .door_environment import DoorEnvironment
except ImportError:
    from server.door_environment import DoorEnvironment

__all__ = ["DoorEnvironment"]
