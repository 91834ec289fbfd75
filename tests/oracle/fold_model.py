"""Folds worlds with an executable model of the rules, for the fold's tests to compare with.

    python3 fold_model.py MODEL_DIRECTORY < worlds.json > answers

Reads a list of worlds, each {"founder", "pins", "envelopes"}, and writes what the model makes of each: lines of text, a
blank line after each world. The model knows init, invite, join, leave, revoke, delegate, tombstone and update (there
called ref); any other kind it ignores. Ids are given, for the model breaks ties by them.
"""

import json
import sys

sys.path.insert(0, sys.argv[1])
from fold import E, H, fold  # noqa: E402


def envelope(said):
    """One envelope as the model has it, under the id that it really has."""
    body = dict(said["body"])
    if body.get("next"):
        body["next"] = H("k", body["next"])
    if "cut" in body:
        body["cut"] = tuple(body["cut"])
    made = E(
        said["kind"], said["signer"], said["chain"], said["seq"], said["prev"], said["deps"], body, body.get("to")
    )
    made.id = said["id"]
    return made


def lines(world):
    envelopes = [envelope(said) for said in world["envelopes"]]
    pins = {int(hop): pin for hop, pin in world["pins"].items()}
    state = fold(envelopes, world["founder"], None, pins)
    yield "line " + " ".join(state["line"])
    if state["forked"]:
        hop, delegates = state["forked"]
        yield f"contest {hop} " + " ".join(delegates)
    for successor in state["tomb"] or ():
        yield f"successor {successor}"
    for puddle, invite in sorted(state["members"].items()):
        yield f"member {puddle} {invite}"
    for update in sorted(state["void"]):
        yield f"void {update}"
    for name, (visible, others) in sorted(state["refs"].items()):
        yield f"ref {name} " + " ".join([visible, *others])


for world in json.load(sys.stdin):
    print("\n".join(lines(world)), end="\n\n")
