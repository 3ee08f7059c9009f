"""All checks, in the order in which they run.

==================  ================================================================================
id                  what it asks
==================  ================================================================================
starts              is the environment built, and does its first reset return?
action-space        can valid actions be drawn from its schema?
step-raises         does every valid action get an observation?
state-read          does reading the state change nothing?
ends                does an episode end?
seed-repeats        do the same seed and actions give the same episode in a fresh session?
reset-restarts      and in one that played another episode before?
hash-seed           and in another process, whose string hashes differ?
global-random       are the global random generators left alone?
invalid-actions     do invalid actions get a typed error and change nothing?
order               are calls out of order refused, and those in order not?
serializable        does every field of observation and state have a JSON form that can be read back?
finite-rewards      are rewards finite numbers?
aliasing            does an observation stay as it was returned?
hidden-values       do hidden values stay out of state and observations?
public-secrets      is a field public whose name says that it should not be?
interleaved         do two sessions side by side play as each would alone?
shared-state        does what an episode does stay out of class attributes?
close-raises        does close return?
leak-threads        are no threads left after close?
leak-files          no open files?
leak-memory         no memory?
==================  ================================================================================
"""

from openenv.testing.checks.actions import ACTION_CHECKS
from openenv.testing.checks.closing import CLOSING_CHECKS
from openenv.testing.checks.playing import PLAYING_CHECKS
from openenv.testing.checks.secrets import SECRET_CHECKS
from openenv.testing.checks.seeds import SEED_CHECKS
from openenv.testing.checks.sharing import SHARING_CHECKS
from openenv.testing.checks.values import VALUE_CHECKS
from openenv.testing.context import Check

CHECKS: tuple[Check, ...] = (
    *PLAYING_CHECKS,
    *SEED_CHECKS,
    *ACTION_CHECKS,
    *VALUE_CHECKS,
    *SECRET_CHECKS,
    *SHARING_CHECKS,
    *CLOSING_CHECKS,
)
