"""What calls a submission's functions, inside the sandbox of the grader.

Nothing that it says is believed beyond the values it reports, and those are compared elsewhere.
"""

DRIVER = r"""
import sys, os, json
def main(json=json, os=os, exit=os._exit):
    report = os.dup(1)
    os.dup2(2, 1)
    word, text = sys.stdin.buffer.read().decode().split("\n", 1)
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    cases = json.loads(text)
    sys.path.insert(0, os.getcwd())
    sys.dont_write_bytecode = True
    from importlib import import_module
    import traceback
    for place, (target, args) in enumerate(cases):
        try:
            module, _, name = target.partition(":")
            call = import_module(module)
            for part in name.split("."):
                call = getattr(call, part)
            said = json.dumps([place, {"value": call(*args)}])
        except BaseException:
            traceback.print_exc()
            said = json.dumps([place, {"raised": 1}])
        line = (word + " " + said + "\n").encode()
        while line:
            line = line[os.write(report, line):]
    exit(0)
main()
"""
"""Source of the driver: reads a word and ``[[target, args], ...]``, reports ``word [place, reply]`` lines."""
