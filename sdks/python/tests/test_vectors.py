"""Passes the public conformance vectors: python test_vectors.py VECTORS

Prints how many cases and files there were; exits with 1 and the differences where an answer is another.
"""

import json
import sys

from counterfoil_license import Refused, parse_file, verify


def answered(case: dict) -> dict:
    trust = case["trust"]
    answer = verify(
        case["token"],
        issuer=case["issuer"],
        audience=case["audience"],
        now=case["now"],
        **{name: trust[name] for name in ("jwks", "root", "key_set", "serial_seen") if name in trust},
        **{
            name: case[name]
            for name in ("status_list", "status_list_required", "highest_time_seen", "clock_skew")
            if name in case
        },
    )
    return {"state": answer.state, "code": answer.code, "entitled": answer.entitled, "features": answer.features}


def parsed(text: str) -> dict:
    try:
        return parse_file(text)
    except Refused as refused:
        return {"code": refused.code}


def main(path: str) -> None:
    with open(path, encoding="utf-8") as file:
        vectors = json.load(file)
    files = vectors.get("files", [])
    answers = [(case, answered(case)) for case in vectors["cases"]] + [(file, parsed(file["text"])) for file in files]
    wrong = [f"{case['name']}: {found}, not {case['expected']}" for case, found in answers if found != case["expected"]]
    if wrong:
        sys.exit("\n".join(wrong))
    print(json.dumps({"cases": len(vectors["cases"]), "files": len(files)}))


if __name__ == "__main__":
    main(sys.argv[1])
