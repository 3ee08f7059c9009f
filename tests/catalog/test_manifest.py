from openenv.catalog.manifest import is_package_folder, read_manifest


def test_defaults(folder):
    root = folder({"my-env/server/app.py": ""}) / "my-env"
    manifest = read_manifest(root)
    assert (manifest.name, manifest.package, manifest.app, manifest.port) == (
        "my-env",
        "my_env",
        "server.app:app",
        8000,
    )
    assert is_package_folder(root)
    assert not is_package_folder(root / "server")


def test_fields(folder):
    root = folder(
        {
            "openenv.yaml": "name: x\nversion: 1.2\ndescription: d\napp: a.b:c\nport: 9\nvariables: {K: v}\n",
            "pyproject.toml": '[tool.setuptools]\npackage-dir = {"x.server" = "server", "x" = "."}\n',
        }
    )
    manifest = read_manifest(root)
    assert (manifest.package, manifest.app, manifest.port) == ("x", "a.b:c", 9)
    assert (manifest.description, manifest.version) == ("d", "1.2")
    assert manifest.fields["variables"] == {"K": "v"}


def test_an_empty_manifest(folder):
    root = folder({"openenv.yaml": "", "pyproject.toml": "[project]\nname = 'x'\n"})
    assert read_manifest(root).name == root.name
