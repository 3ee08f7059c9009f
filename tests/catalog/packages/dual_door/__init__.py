try:
    from .models import DoorAction, DoorObservation
except ImportError:
    from models import DoorAction, DoorObservation

__all__ = ["DoorAction", "DoorObservation"]
