"""Writes what is in the binary: a CycloneDX bill of materials, and the licence texts that have to go along."""

import hashlib
import json
import pathlib
import sys
import uuid

TEXTS = ("LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE")


def shipped(folder: pathlib.Path) -> list[dict]:
    """The packages of the binary's own dependency tree, ours left out."""
    metadata = json.loads((folder / "metadata.json").read_text())
    names = {tuple(line.split()[:2]) for line in (folder / "tree.txt").read_text().splitlines() if line.strip()}
    packages = [each for each in metadata["packages"] if (each["name"], "v" + each["version"]) in names]
    found = {(each["name"], "v" + each["version"]) for each in packages}
    if found != names:
        sys.exit(f"cargo tree and cargo metadata differ: {sorted(names ^ found)}")
    return sorted((each for each in packages if each["source"]), key=lambda each: (each["name"], each["version"]))


def component(package: dict) -> dict:
    purl = f"pkg:cargo/{package['name']}@{package['version']}"
    described = {
        "type": "library",
        "bom-ref": purl,
        "name": package["name"],
        "version": package["version"],
        "purl": purl,
        "licenses": [{"expression": package["license"].replace("/", " OR ")}] if package["license"] else [],
    }
    if package["repository"]:
        described["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return described


def sbom(folder: pathlib.Path, packages: list[dict]) -> None:
    components = [component(each) for each in packages]
    # The same dependencies give the same document, so that two builds can be compared.
    digest = hashlib.sha256(json.dumps(components).encode()).digest()
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.UUID(bytes=digest[:16], version=4)}",
        "version": 1,
        "metadata": {"component": {"type": "application", "bom-ref": "counterfoil", "name": "counterfoil"}},
        "components": components,
    }
    target = folder / "counterfoil.cdx.json"
    target.write_text(json.dumps(document, indent=2) + "\n")
    print(f"{target}: {len(components)} components")


def texts(package: dict) -> list[pathlib.Path]:
    folder = pathlib.Path(package["manifest_path"]).parent
    return sorted(path for path in folder.iterdir() if path.is_file() and path.name.upper().startswith(TEXTS))


def notices(folder: pathlib.Path, packages: list[dict]) -> None:
    by_text: dict[str, list[str]] = {}
    bare = []
    for package in packages:
        name = f"{package['name']} {package['version']} ({package['license']})"
        found = [path.read_text(errors="replace").strip() for path in texts(package)]
        if not found:
            bare.append(f"{name} by {', '.join(package['authors']) or package['repository']}")
        for text in found:
            by_text.setdefault(text, []).append(name)
    parts = ["Counterfoil contains the following software of others.\n"]
    for text, names in sorted(by_text.items(), key=lambda pair: pair[1]):
        parts.append("=" * 80 + "\n" + "\n".join(names) + "\n" + "-" * 80 + "\n" + text + "\n")
    if bare:
        parts.append("=" * 80 + "\nThese carry no text of their own; the licence is the one that they name:\n" + "\n".join(bare) + "\n")
    target = folder / "THIRD-PARTY-NOTICES.txt"
    target.write_text("\n".join(parts))
    print(f"{target}: {len(packages)} packages, {len(by_text)} texts, {len(bare)} without a text of their own")


if __name__ == "__main__":
    place = pathlib.Path(sys.argv[2])
    {"sbom": sbom, "notices": notices}[sys.argv[1]](place, shipped(place))
