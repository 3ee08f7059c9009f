"""Messages, codecs and framing of the wire: pure functions and state machines, no I/O."""
