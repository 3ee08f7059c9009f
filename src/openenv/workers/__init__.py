"""One server over several processes: a supervisor that accepts connections, and workers that serve them.

`openenv serve --workers N` is the way in. The supervisor (`openenv.workers.supervisor`) holds the listening
socket, looks at the head of each request without taking it, and hands the socket to the worker that owns the
session that the request names, or to the one with the fewest sessions. It also counts the session slots of
all workers and starts a new worker for one that died. A worker (`openenv.workers.worker`) is an ordinary
server without a listening socket; what reaches it and belongs to another worker it passes on
(`openenv.workers.forward`).

Ids of the sessions of worker 3 end in ``-w3``. A worker's number is never used again, so that an id alone
says whether its session can still be alive.
"""
